import { useMutation, useQuery, useQueryClient, type InfiniteData } from '@tanstack/react-query';
import { AudioLines, ChevronLeft, FileJson, Mic, Pencil, Trash2 } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useLocation } from 'wouter';
import {
  deleteConversation,
  exportOf,
  getConversation,
  renameConversation,
  type Conversation,
  type ConversationPage,
} from '../api/conversations';
import { ApiError, download } from '../api/http';
import { useCall, useCallView } from '../app/call-context';
import { withoutConversation, withTitle } from '../app/news-cache';
import { keys } from '../app/query-keys';
import { Confirm } from '../ui/Confirm';
import { Empty } from '../ui/Empty';
import { clock, fullDate } from '../ui/format';
import { InlineEdit } from '../ui/InlineEdit';
import { Menu } from '../ui/Menu';
import { Problem } from '../ui/Problem';
import { useProblem } from '../ui/problem';
import { Skeleton } from '../ui/Skeleton';
import { toast } from '../ui/toast';
import styles from './ConversationPane.module.css';
import { TurnRow } from './TurnRow';

const TITLE_LIMIT = 200;

/** One conversation: both sides' words, their recordings, how fast each answer came, and what can be done with it. */
export function ConversationPane({ id }: { id: string }) {
  const { t } = useTranslation();
  const { data, error, isPending, refetch } = useQuery({
    queryKey: keys.conversation(id),
    queryFn: ({ signal }) => getConversation(id, signal),
    staleTime: 5_000,
  });
  return (
    <>
      <Link href="/history" className={styles.back}>
        <ChevronLeft size={18} aria-hidden="true" />
        {t('history.back')}
      </Link>
      {data !== undefined ? (
        <Reading conversation={data} />
      ) : isPending ? (
        <div className={styles.reading}>
          <Skeleton rows={4} height={96} label={t('history.loading')} />
        </div>
      ) : error instanceof ApiError && error.kind === 'not-found' ? (
        <Empty title={t('history.errorNotFound')} testid="failure">
          <Link className="button" href="/history">
            {t('history.back')}
          </Link>
        </Empty>
      ) : (
        <Problem error={error} title={t('history.conversation')} retry={() => void refetch()} />
      )}
    </>
  );
}

function Reading({ conversation }: { conversation: Conversation }) {
  const { t, i18n } = useTranslation();
  const { id, createdAt, durationMs, turns } = conversation;
  const voices = [...new Set(turns.flatMap(({ voice }) => voice ?? []))];
  return (
    <article className={styles.reading} data-testid="conversation">
      <header>
        <Heading conversation={conversation} />
        <p className={styles.facts}>
          <time dateTime={createdAt.toISOString()}>{fullDate(createdAt, i18n.language)}</time>
          <span>{t('history.turns', { count: turns.length })}</span>
          {durationMs !== null && durationMs >= 1000 && <span>{clock(durationMs / 1000)}</span>}
          {voices.length > 0 && <span>{t('history.voice', { name: voices.join(', ') })}</span>}
        </p>
      </header>
      {turns.length === 0 ? (
        <p className={styles.nothing}>{t('history.noTurns')}</p>
      ) : (
        <ol>
          {turns.map((turn) => (
            <TurnRow key={turn.id} conversation={id} turn={turn} />
          ))}
        </ol>
      )}
    </article>
  );
}

/** Title and actions. The title is changed where it stands. */
function Heading({ conversation: { id, title, createdAt, turns } }: { conversation: Conversation }) {
  const { t } = useTranslation();
  const say = useProblem();
  const client = useQueryClient();
  const call = useCall();
  const { phase } = useCallView();
  const calling = phase.kind !== 'idle' && phase.kind !== 'ended' && phase.kind !== 'failed';
  const [, navigate] = useLocation();
  const [editing, setEditing] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  // As the list calls it: by its title, else by what was said first.
  const shown = title ?? (turns[0]?.user.text || t('history.untitled'));

  // The reader who opened a conversation by keyboard or on a phone goes on from its title.
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);

  const rename = useMutation({
    mutationFn: (next: string | null) => renameConversation(id, next),
    onSuccess: (next) => {
      client.setQueryData<Conversation>(keys.conversation(id), (known) => known && { ...known, title: next });
      client.setQueriesData<InfiniteData<ConversationPage>>({ queryKey: keys.lists }, (known) => known && withTitle(known, { conversation: id, title: next }));
      setEditing(false);
    },
  });
  const remove = useMutation({
    mutationFn: () => deleteConversation(id),
    onSuccess: () => {
      client.setQueriesData<InfiniteData<ConversationPage>>({ queryKey: keys.lists }, (known) => known && withoutConversation(known, id));
      navigate('/history');
      client.removeQueries({ queryKey: keys.conversation(id) });
      toast({ text: t('history.deleted') });
    },
  });
  const save = useMutation({
    mutationFn: ({ path, name }: { path: string; name: string }) => download(path, name),
    onMutate: () => toast({ text: t('history.exporting') }),
    onSuccess: () => toast({ text: t('history.exported') }),
    onError: (error) => toast({ text: say(error), tone: 'bad' }),
  });

  if (editing) {
    return (
      <InlineEdit
        label={t('history.titleLabel')}
        value={title ?? ''}
        maxLength={TITLE_LIMIT}
        busy={rename.isPending}
        problem={rename.isError ? say(rename.error) : null}
        testid="rename"
        onSave={(next) => rename.mutate(next)}
        onCancel={() => {
          rename.reset();
          setEditing(false);
        }}
      />
    );
  }
  const stamp = createdAt.toISOString().slice(0, 10);
  return (
    <div className={styles.heading}>
      <h1 ref={heading} tabIndex={-1} data-testid="conversation-title">
        {shown}
      </h1>
      <div className={styles.tools}>
        <button
          type="button"
          className={`button small ${styles.goOn}`}
          data-testid="go-on-with"
          disabled={calling}
          onClick={() => {
            navigate('/');
            void call.goOnWith(id);
          }}
        >
          <Mic size={16} aria-hidden="true" />
          {t('history.goOn')}
        </button>
        <Menu
          label={t('history.actions')}
          testid="conversation-menu"
          items={[
            { key: 'rename', label: t('history.rename'), icon: Pencil, run: () => setEditing(true) },
            {
              key: 'json',
              label: t('history.exportJson'),
              icon: FileJson,
              disabled: save.isPending,
              run: () => save.mutate({ path: exportOf(id).json, name: `avatar-${stamp}.json` }),
            },
            {
              key: 'audio',
              label: t('history.exportAudio'),
              icon: AudioLines,
              disabled: save.isPending,
              run: () => save.mutate({ path: exportOf(id).audio, name: `avatar-${stamp}.ogg` }),
            },
            { key: 'delete', label: t('history.delete'), icon: Trash2, danger: true, run: () => setDeleting(true) },
          ]}
        />
      </div>
      <Confirm
        open={deleting}
        title={t('history.deleteTitle')}
        body={t('history.deleteBody', { name: shown })}
        action={t('history.delete')}
        busy={remove.isPending}
        problem={remove.isError ? say(remove.error) : null}
        onConfirm={() => remove.mutate()}
        onCancel={() => {
          remove.reset();
          setDeleting(false);
        }}
      />
    </div>
  );
}
