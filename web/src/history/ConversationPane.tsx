import { ChevronLeft, Hand } from 'lucide-react';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'wouter';
import { apiKey } from '../api/key';
import { ApiError, getConversation, type Conversation, type RecordedTurn, type Side } from '../api/client';
import { fullDate, milliseconds, timeOfDay } from '../ui/format';
import { Empty } from '../ui/Empty';
import { KeyForm } from '../ui/KeyForm';
import { Player } from '../ui/Player';
import { Waterfall } from '../ui/Waterfall';
import styles from './ConversationPane.module.css';
import { problemKey } from './problem';

type Loading = { kind: 'loading' } | { kind: 'failed'; error: unknown } | { kind: 'loaded'; conversation: Conversation };

/** One conversation: both sides' words, their recordings, and how fast each answer came. */
export function ConversationPane({ id }: { id: string }) {
  const { t } = useTranslation();
  const [state, setState] = useState<Loading>({ kind: 'loading' });
  const [tries, setTries] = useState(0);

  useEffect(() => {
    const request = new AbortController();
    getConversation(id, request.signal).then(
      (conversation) => setState({ kind: 'loaded', conversation }),
      (error: unknown) => {
        if (!request.signal.aborted) setState({ kind: 'failed', error });
      },
    );
    return () => request.abort();
  }, [id, tries]);

  const retry = () => {
    setState({ kind: 'loading' });
    setTries(tries + 1);
  };

  return (
    <>
      <Link href="/history" className={styles.back}>
        <ChevronLeft size={18} aria-hidden="true" />
        {t('history.back')}
      </Link>
      {state.kind === 'loading' && (
        <p className={styles.loading} role="status">
          {t('history.loading')}
        </p>
      )}
      {state.kind === 'failed' && (
        <Empty title={t(problemKey(state.error))} testid="failure">
          {state.error instanceof ApiError && state.error.kind === 'not-found' ? (
            <Link className="button" href="/history">
              {t('history.back')}
            </Link>
          ) : state.error instanceof ApiError && state.error.kind === 'key' ? (
            <KeyForm wrong={apiKey() !== null} done={retry} />
          ) : (
            <button type="button" className="button" onClick={retry}>
              {t('history.retry')}
            </button>
          )}
        </Empty>
      )}
      {state.kind === 'loaded' && <Reading conversation={state.conversation} />}
    </>
  );
}

function Reading({ conversation: { createdAt, turns } }: { conversation: Conversation }) {
  const { t, i18n } = useTranslation();
  const voices = [...new Set(turns.flatMap(({ voice }) => voice ?? []))];
  return (
    <article className={styles.reading} data-testid="conversation">
      <header>
        <h2>
          <time dateTime={createdAt.toISOString()}>{fullDate(createdAt, i18n.language)}</time>
        </h2>
        <p>
          <span>{t('history.turns', { count: turns.length })}</span>
          {voices.length > 0 && <span>{t('history.voice', { name: voices.join(', ') })}</span>}
        </p>
      </header>
      {turns.length === 0 ? (
        <p className={styles.nothing}>{t('history.noTurns')}</p>
      ) : (
        <ol>
          {turns.map((turn) => (
            <TurnRow key={turn.id} turn={turn} />
          ))}
        </ol>
      )}
    </article>
  );
}

function TurnRow({ turn }: { turn: RecordedTurn }) {
  const { t, i18n } = useTranslation();
  const { user, assistant, timings, createdAt } = turn;
  const voiceToVoice = timings?.first_packet_ms ?? null;
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
        <Words side={user} missing={t('history.untitled')} />
        {user.audio !== null && (
          <Player src={user.audio} durationMs={user.durationMs} label={t('history.playUser')} testid="play-user" tone="caller" />
        )}
      </div>
      {(assistant.text !== '' || assistant.audio !== null || assistant.interrupted) && (
        <div className={styles.side} data-role="assistant" data-testid="turn-assistant">
          <p className={styles.who}>{t('transcript.avatar')}</p>
          <Words side={assistant} missing={t('history.silent')} />
          {assistant.interrupted && (
            <p className={styles.mark} data-testid="interrupted">
              <Hand size={14} aria-hidden="true" />
              {t('transcript.interruptedLong')}
            </p>
          )}
          {assistant.audio !== null && (
            <Player
              src={assistant.audio}
              durationMs={assistant.durationMs}
              label={t('history.playAssistant')}
              testid="play-assistant"
              tone="avatar"
            />
          )}
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

function Words({ side, missing }: { side: Side; missing: string }) {
  return side.text === '' ? <p className={styles.missing}>{missing}</p> : <p className={styles.text}>{side.text}</p>;
}
