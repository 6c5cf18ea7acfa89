import { History } from 'lucide-react';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'wouter';
import { Empty } from '../ui/Empty';
import { Problem } from '../ui/Problem';
import { ConversationList } from './ConversationList';
import { ConversationPane } from './ConversationPane';
import styles from './HistoryPage.module.css';
import { useConversations } from './use-conversations';

/** From the last key to the question: long enough not to ask at every letter, short enough not to be felt. */
const TYPING_MS = 180;

/** The list of conversations, and the one that is open. On a phone one takes the place of the other. */
export function HistoryPage({ id }: { id: string | null }) {
  const { t } = useTranslation();
  const [search, setSearch] = useState('');
  const [searched, setSearched] = useState('');
  const conversations = useConversations(searched);

  useEffect(() => {
    const timer = setTimeout(() => setSearched(search.trim()), search === '' ? 0 : TYPING_MS);
    return () => clearTimeout(timer);
  }, [search]);

  const nothingAtAll = searched === '' && search === '' && conversations.data?.pages.every(({ items }) => items.length === 0);
  if (id === null && nothingAtAll && !conversations.isError) {
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
  if (id === null && searched === '' && conversations.isError && conversations.data === undefined) {
    return <Problem error={conversations.error} title={t('history.title')} retry={() => void conversations.refetch()} />;
  }
  return (
    <div className={styles.history} data-open={id !== null}>
      <ConversationList open={id} search={search} onSearch={setSearch} searched={searched} conversations={conversations} />
      <section className={styles.pane} aria-label={t('history.conversation')}>
        {id === null ? (
          conversations.isSuccess && <Empty title={t('history.pickTitle')} body={t('history.pickBody')} />
        ) : (
          <ConversationPane key={id} id={id} />
        )}
      </section>
    </div>
  );
}
