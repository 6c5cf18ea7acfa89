import { useVirtualizer } from '@tanstack/react-virtual';
import { Search, Sparkles, X } from 'lucide-react';
import { useEffect, useMemo, useRef, type KeyboardEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'wouter';
import type { ConversationSummary } from '../api/conversations';
import { clock, timeOfDay } from '../ui/format';
import { useProblem } from '../ui/problem';
import { Skeleton } from '../ui/Skeleton';
import styles from './ConversationList.module.css';
import { rowsOf, type Row } from './rows';
import type { Conversations } from './use-conversations';

interface Props {
  open: string | null;
  search: string;
  onSearch: (search: string) => void;
  /** What is searched for by now: it follows what is typed. */
  searched: string;
  conversations: Conversations;
}

/** This many rows from the end, older ones are fetched. */
const AHEAD = 10;

/** Search, and the conversations under their days. However many there are, only those in sight are in the page. */
export function ConversationList({ open, search, onSearch, searched, conversations }: Props) {
  const { t, i18n } = useTranslation();
  const say = useProblem();
  const { data, isPending, isError, error, hasNextPage, isFetchingNextPage, isFetchNextPageError, fetchNextPage, isPlaceholderData } = conversations;
  const rows = useMemo(
    () => rowsOf(data?.pages.flatMap(({ items }) => items) ?? [], new Date(), i18n.language),
    [data, i18n.language],
  );
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => (rows[index]?.day === null ? 66 : 112),
    getItemKey: (index) => rows[index]?.item.id ?? index,
    overscan: 8,
  });
  const visible = virtual.getVirtualItems();
  const last = visible.at(-1)?.index ?? 0;
  const searching = search.trim() !== searched || isPlaceholderData;

  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && !isFetchNextPageError && last >= rows.length - AHEAD) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, isFetchNextPageError, last, rows.length, fetchNextPage]);

  useEffect(() => {
    scroller.current?.scrollTo({ top: 0 });
  }, [searched]);

  const move = (event: KeyboardEvent<HTMLElement>) => {
    const from = Number((event.target as HTMLElement).closest<HTMLElement>('[data-index]')?.dataset['index'] ?? Number.NaN);
    const to = { ArrowDown: from + 1, ArrowUp: from - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || Number.isNaN(from) || rows[to] === undefined) return;
    event.preventDefault();
    virtual.scrollToIndex(to);
    // The row may come into the page only now.
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`[data-index="${to}"] a`)?.focus());
  };

  return (
    <nav className={styles.list} aria-label={t('history.list')} data-testid="history-list" aria-busy={isPending}>
      <div className={styles.head}>
        <h1>{t('history.title')}</h1>
        <p className={styles.subtitle}>{t('history.subtitle')}</p>
        <form className={styles.search} role="search" onSubmit={(event) => event.preventDefault()}>
          <Search size={18} aria-hidden="true" />
          <input
            type="search"
            value={search}
            maxLength={200}
            placeholder={t('history.search')}
            aria-label={t('history.search')}
            data-testid="search"
            onChange={({ target }) => onSearch(target.value)}
            onKeyDown={({ key, nativeEvent }) => key === 'Escape' && !nativeEvent.isComposing && onSearch('')}
          />
          {search !== '' && (
            <button type="button" aria-label={t('history.clearSearch')} onClick={() => onSearch('')}>
              <X size={16} aria-hidden="true" />
            </button>
          )}
        </form>
        <p className="visually-hidden" role="status">
          {searched !== '' && !searching && !isPending ? t(hasNextPage ? 'history.foundMore' : 'history.found', { count: rows.length }) : ''}
        </p>
      </div>

      {isPending ? (
        <div className={styles.placeholders}>
          <Skeleton rows={6} height={56} label={t('history.loading')} />
        </div>
      ) : isError && rows.length === 0 ? (
        <div className={styles.nothing} role="alert">
          <p>{say(error)}</p>
          <button type="button" className="button small" onClick={() => void conversations.refetch()}>
            {t('ui.retry')}
          </button>
        </div>
      ) : rows.length === 0 ? (
        <div className={styles.nothing} data-testid="nothing-found">
          <p>{searched === '' ? t('history.emptyTitle') : t('history.notFound', { q: searched })}</p>
        </div>
      ) : (
        <div ref={scroller} className={styles.scroller} data-stale={searching} onKeyDown={move}>
          <ul style={{ height: virtual.getTotalSize() }} aria-label={t('history.list')}>
            {visible.map(({ index, key, start }) => {
              const row = rows[index];
              return (
                row !== undefined && (
                  <li
                    key={key}
                    ref={virtual.measureElement}
                    data-index={index}
                    aria-setsize={hasNextPage ? -1 : rows.length}
                    aria-posinset={index + 1}
                    style={{ transform: `translateY(${start}px)` }}
                  >
                    <Entry row={row} open={row.item.id === open} />
                  </li>
                )
              );
            })}
          </ul>
          {hasNextPage && (
            <button
              type="button"
              className={`button ${styles.more}`}
              data-testid="load-more"
              disabled={isFetchingNextPage}
              onClick={() => void fetchNextPage()}
            >
              {t(isFetchingNextPage ? 'history.loadingMore' : isFetchNextPageError ? 'ui.retry' : 'history.more')}
            </button>
          )}
        </div>
      )}
    </nav>
  );
}

function Entry({ row: { item, day }, open }: { row: Row; open: boolean }) {
  const { t, i18n } = useTranslation();
  const name = item.title ?? item.preview;
  return (
    <>
      {day !== null && <h2 className={styles.day}>{typeof day === 'string' ? t(`history.${day}`) : day.date}</h2>}
      <Link
        href={`/history/${encodeURIComponent(item.id)}`}
        className={styles.item}
        data-testid="history-item"
        aria-current={open ? 'true' : undefined}
      >
        <span className={styles.preview} data-untitled={name === ''}>
          {name === '' ? t('history.untitled') : name}
        </span>
        {item.match !== null && <Found match={item.match} />}
        <span className={styles.meta}>
          <time dateTime={item.createdAt.toISOString()}>{timeOfDay(item.createdAt, i18n.language)}</time>
          <span>{t('history.turns', { count: item.turns })}</span>
          {item.durationMs !== null && item.durationMs >= 1000 && <span>{clock(item.durationMs / 1000)}</span>}
          {item.hq.ready > 0 && item.hq.pending === 0 && (
            <span className={styles.hq}>
              <Sparkles size={13} aria-hidden="true" />
              {t('history.hq.short')}
            </span>
          )}
        </span>
      </Link>
    </>
  );
}

/** Where the words that were looked for stand. */
function Found({ match: { side, pieces } }: { match: NonNullable<ConversationSummary['match']> }) {
  const { t } = useTranslation();
  return (
    <span className={styles.match} data-testid="match">
      <span className={styles.side} data-role={side}>
        {t(side === 'user' ? 'transcript.you' : 'transcript.avatar')}
      </span>{' '}
      {pieces.map(({ text, hit }, index) => (hit ? <mark key={index}>{text}</mark> : <span key={index}>{text}</span>))}
    </span>
  );
}
