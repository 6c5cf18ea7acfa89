import { History } from 'lucide-react';
import { useTranslation } from 'react-i18next';
import { Link } from 'wouter';
import { ApiError } from '../api/client';
import { apiKey } from '../api/key';
import { Empty } from '../ui/Empty';
import { KeyForm } from '../ui/KeyForm';
import { ConversationList } from './ConversationList';
import { ConversationPane } from './ConversationPane';
import styles from './HistoryPage.module.css';
import { problemKey } from './problem';
import { useConversations } from './use-conversations';

/** The list of conversations, and the one that is open. On a phone one takes the place of the other. */
export function HistoryPage({ id }: { id: string | null }) {
  const { t } = useTranslation();
  const conversations = useConversations();
  const { state } = conversations;

  if (id === null && state.kind === 'loaded' && state.items.length === 0) {
    return (
      <Empty
        title={t('history.emptyTitle')}
        body={t('history.emptyBody')}
        art={<History size={32} strokeWidth={1.5} />}
        testid="history-empty"
      >
        <Link className="button primary" href="/">
          {t('history.emptyAction')}
        </Link>
      </Empty>
    );
  }
  if (id === null && state.kind === 'failed') {
    const refused = state.error instanceof ApiError && state.error.kind === 'key' && apiKey() !== null;
    return (
      <Empty title={t('history.title')} body={t(refused ? 'key.wrong' : problemKey(state.error))} testid="failure">
        {state.error instanceof ApiError && state.error.kind === 'key' ? (
          <KeyForm wrong={refused} done={conversations.reload} />
        ) : (
          <button type="button" className="button primary" onClick={conversations.reload}>
            {t('history.retry')}
          </button>
        )}
      </Empty>
    );
  }
  return (
    <div className={styles.history} data-open={id !== null}>
      <ConversationList open={id} conversations={conversations} />
      <section className={styles.pane} aria-label={t('history.title')}>
        {id === null ? (
          state.kind === 'loaded' && <Empty title={t('history.pickTitle')} body={t('history.pickBody')} />
        ) : (
          <ConversationPane key={id} id={id} />
        )}
      </section>
    </div>
  );
}
