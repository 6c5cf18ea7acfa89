import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Hand, LoaderCircle, Pencil, Sparkles, TriangleAlert } from 'lucide-react';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { editTurn, renderTurn, type Conversation, type Hq, type RecordedTurn, type Side } from '../api/conversations';
import { keys } from '../app/query-keys';
import { milliseconds, timeOfDay } from '../ui/format';
import { InlineEdit } from '../ui/InlineEdit';
import { Player } from '../ui/Player';
import { useProblem } from '../ui/problem';
import { toast } from '../ui/toast';
import { Waterfall } from '../ui/Waterfall';
import styles from './ConversationPane.module.css';

const TEXT_LIMIT = 10_000;

/** One exchange: what was said, how it sounded live and in the better recording, and where the time went. */
export function TurnRow({ conversation, turn }: { conversation: string; turn: RecordedTurn }) {
  const { t, i18n } = useTranslation();
  const { user, assistant, timings, createdAt } = turn;
  const { hq } = assistant;
  const voiceToVoice = timings?.first_packet_ms ?? null;
  const better = hq?.state === 'ready' && hq.audio !== null ? hq : null;
  return (
    <li className={styles.turn} data-testid="recorded-turn">
      <div className={styles.side} data-role="user" data-testid="turn-user">
        <p className={styles.who}>
          {t('transcript.you')}
          {createdAt !== null && (
            <time className={styles.aside} dateTime={createdAt.toISOString()}>
              {timeOfDay(createdAt, i18n.language)}
            </time>
          )}
        </p>
        <Words conversation={conversation} turn={turn.id} which="user" side={user} missing={t('history.untitled')} />
        {user.audio !== null && (
          <Player src={user.audio} durationMs={user.durationMs} label={t('history.playUser')} testid="play-user" tone="caller" />
        )}
      </div>
      {(assistant.text !== '' || assistant.audio !== null || assistant.interrupted || better !== null) && (
        <div className={styles.side} data-role="assistant" data-testid="turn-assistant">
          <p className={styles.who}>{t('transcript.avatar')}</p>
          <Words conversation={conversation} turn={turn.id} which="assistant" side={assistant} missing={t('history.silent')} />
          {assistant.interrupted && (
            <p className={styles.mark} data-testid="interrupted">
              <Hand size={14} aria-hidden="true" />
              {t('transcript.interruptedLong')}
            </p>
          )}
          {(assistant.audio !== null || better !== null) && (
            <div className={styles.takes}>
              {assistant.audio !== null && (
                <figure>
                  {better !== null && <figcaption>{t('history.hq.live')}</figcaption>}
                  <Player
                    src={assistant.audio}
                    durationMs={assistant.durationMs}
                    label={t(better === null ? 'history.playAssistant' : 'history.hq.playLive')}
                    testid="play-assistant"
                    tone="avatar"
                  />
                </figure>
              )}
              {better?.audio != null && (
                <figure>
                  <figcaption>
                    <Sparkles size={13} aria-hidden="true" />
                    {better.voice === null ? t('history.hq.ready') : t('history.hq.readyWith', { voice: better.voice })}
                  </figcaption>
                  <Player src={better.audio} durationMs={better.durationMs} label={t('history.hq.play')} testid="play-hq" tone="avatar" />
                </figure>
              )}
            </div>
          )}
          {hq !== null && better === null && <Better conversation={conversation} turn={turn.id} hq={hq} />}
        </div>
      )}
      {timings !== null && (
        <details className={styles.timings} data-testid="timings">
          <summary>
            {voiceToVoice === null
              ? t('timings.show')
              : t('timings.answeredIn', { ms: milliseconds(voiceToVoice, i18n.language) })}
          </summary>
          <Waterfall stages={timings} />
        </details>
      )}
    </li>
  );
}

/** How far the better recording is, or the way to one. */
function Better({ conversation, turn, hq }: { conversation: string; turn: string; hq: Hq }) {
  const { t } = useTranslation();
  const say = useProblem();
  const client = useQueryClient();
  const render = useMutation({
    mutationFn: () => renderTurn(conversation, turn),
    onSuccess: () => client.invalidateQueries({ queryKey: keys.conversation(conversation) }),
    onError: (error) => toast({ text: say(error), tone: 'bad' }),
  });
  if (hq.state === 'pending' || hq.state === 'rendering') {
    return (
      <p className={styles.mark} data-testid="hq-state" data-state={hq.state} role="status">
        <LoaderCircle size={14} className={styles.spin} aria-hidden="true" />
        {t(`history.hq.${hq.state}`)}
      </p>
    );
  }
  return (
    <p className={styles.mark} data-testid="hq-state" data-state={hq.state}>
      {hq.state === 'failed' && (
        <>
          <TriangleAlert size={14} aria-hidden="true" />
          {hq.reason === null ? t('history.hq.failed') : t('history.hq.failedWith', { reason: hq.reason })}
        </>
      )}
      <button
        type="button"
        className={styles.quiet}
        data-testid="render"
        disabled={render.isPending}
        aria-busy={render.isPending}
        onClick={() => render.mutate()}
      >
        {hq.state !== 'failed' && <Sparkles size={14} aria-hidden="true" />}
        {t(hq.state === 'failed' ? 'ui.retry' : 'history.hq.make')}
      </button>
    </p>
  );
}

interface WordsProps {
  conversation: string;
  turn: string;
  which: 'user' | 'assistant';
  side: Side;
  missing: string;
}

/** What one side said. It can be corrected where it stands; what was there before is kept. */
function Words({ conversation, turn, which, side, missing }: WordsProps) {
  const { t } = useTranslation();
  const say = useProblem();
  const client = useQueryClient();
  const [editing, setEditing] = useState(false);
  const edit = useMutation({
    mutationFn: (said: string | null) => editTurn(conversation, turn, which, said),
    onSuccess: (changed) => {
      client.setQueryData<Conversation>(
        keys.conversation(conversation),
        (known) => known && { ...known, turns: known.turns.map((other) => (other.id === changed.id ? changed : other)) },
      );
      setEditing(false);
    },
  });
  const change = (said: string | null) => {
    // What to go back to: the edit before this one, or what was heard.
    const before = side.original === null ? null : side.text;
    edit.mutate(said, {
      onSuccess: () =>
        toast({
          text: t(said === null ? 'history.editTaken' : 'history.edited'),
          ...(said === null
            ? {}
            : {
                action: {
                  label: t('ui.undo'),
                  run: () => edit.mutate(before, { onError: (error) => toast({ text: say(error), tone: 'bad' }) }),
                },
              }),
        }),
      onError: (error) => said === null && toast({ text: say(error), tone: 'bad' }),
    });
  };

  if (editing) {
    return (
      <InlineEdit
        label={t(which === 'user' ? 'history.editUser' : 'history.editAssistant')}
        value={side.text}
        maxLength={TEXT_LIMIT}
        long
        busy={edit.isPending}
        problem={edit.isError ? say(edit.error) : null}
        testid="edit"
        onSave={(said) => (said === side.text ? setEditing(false) : change(said))}
        onCancel={() => {
          edit.reset();
          setEditing(false);
        }}
      />
    );
  }
  return (
    <div className={styles.words}>
      {side.text === '' ? <p className={styles.missing}>{missing}</p> : <p className={styles.text}>{side.text}</p>}
      {side.text !== '' && (
        <button
          type="button"
          className={styles.pencil}
          data-testid={`edit-${which}`}
          aria-label={t(which === 'user' ? 'history.editUser' : 'history.editAssistant')}
          title={t(which === 'user' ? 'history.editUser' : 'history.editAssistant')}
          onClick={() => setEditing(true)}
        >
          <Pencil size={15} aria-hidden="true" />
        </button>
      )}
      {side.original !== null && (
        <details className={styles.original} data-testid="original">
          <summary>{t('history.wasEdited')}</summary>
          <p>{side.original === '' ? t('history.untitled') : side.original}</p>
          <button type="button" className={styles.quiet} disabled={edit.isPending} data-testid="take-back" onClick={() => change(null)}>
            {t('history.takeBack')}
          </button>
        </details>
      )}
    </div>
  );
}
