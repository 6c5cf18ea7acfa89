import { useTranslation } from 'react-i18next';
import { Link } from 'wouter';
import type { ConversationSummary } from '../api/client';
import { dayOf, timeOfDay } from '../ui/format';
import styles from './ConversationList.module.css';
import type { Conversations } from './use-conversations';

/** Rows that stand in while the list is on its way: of the rows' own height, so that nothing moves. */
const PLACEHOLDERS = 6;

export function ConversationList({ open, conversations }: { open: string | null; conversations: Conversations }) {
  const { t } = useTranslation();
  const { state } = conversations;
  return (
    <nav className={styles.list} aria-label={t('history.list')} data-testid="history-list" aria-busy={state.kind === 'loading'}>
      <h1>{t('history.title')}</h1>
      <p className={styles.subtitle}>{t('history.subtitle')}</p>
      {state.kind === 'loading' && (
        <>
          <p className="visually-hidden" role="status">
            {t('history.loading')}
          </p>
          <div className={styles.placeholders} aria-hidden="true">
            {Array.from({ length: PLACEHOLDERS }, (_, index) => (
              <span key={index} />
            ))}
          </div>
        </>
      )}
      {state.kind === 'loaded' && (
        <>
          <Days items={state.items} open={open} />
          {state.more !== 'none' && (
            <button
              type="button"
              className={`button ${styles.more}`}
              data-testid="load-more"
              disabled={state.more === 'loading'}
              onClick={conversations.loadMore}
            >
              {t(state.more === 'loading' ? 'history.loadingMore' : state.more === 'failed' ? 'history.retry' : 'history.more')}
            </button>
          )}
        </>
      )}
    </nav>
  );
}

function Days({ items, open }: { items: ConversationSummary[]; open: string | null }) {
  const { t, i18n } = useTranslation();
  const now = new Date();
  const days: { heading: string; items: ConversationSummary[] }[] = [];
  for (const item of items) {
    const day = dayOf(item.createdAt, now, i18n.language);
    const heading = typeof day === 'string' ? t(`history.${day}`) : day.date;
    const last = days.at(-1);
    if (last?.heading === heading) last.items.push(item);
    else days.push({ heading, items: [item] });
  }
  return days.map(({ heading, items: inDay }) => (
    <section key={heading} className={styles.day}>
      <h2>{heading}</h2>
      <ul>
        {inDay.map((item) => (
          <li key={item.id}>
            <Link
              href={`/history/${encodeURIComponent(item.id)}`}
              className={styles.item}
              data-testid="history-item"
              aria-current={item.id === open ? 'true' : undefined}
            >
              <span className={styles.preview} data-untitled={item.preview === ''}>
                {item.preview === '' ? t('history.untitled') : item.preview}
              </span>
              <span className={styles.meta}>
                <time dateTime={item.createdAt.toISOString()}>{timeOfDay(item.createdAt, i18n.language)}</time>
                <span>{t('history.turns', { count: item.turns })}</span>
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </section>
  ));
}
