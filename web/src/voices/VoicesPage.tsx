import { useQuery } from '@tanstack/react-query';
import { AudioLines, Info, Plus } from 'lucide-react';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { getCloning, listVoices, type Voice } from '../api/voices';
import { keys } from '../app/query-keys';
import { useHealth } from '../status/health-context';
import { Problem } from '../ui/Problem';
import { Skeleton } from '../ui/Skeleton';
import { AddVoice } from './AddVoice';
import { VoiceRow } from './VoiceRow';
import styles from './VoicesPage.module.css';

/** While a voice is being made, how often the page looks, beside what the server tells by itself. */
const LOOK_MS = 4_000;

/** The user's own voices and the built-in ones; a way to add one. */
export function VoicesPage() {
  const { t } = useTranslation();
  const [adding, setAdding] = useState(false);
  const voices = useQuery({
    queryKey: keys.voices,
    queryFn: ({ signal }) => listVoices(signal),
    refetchInterval: ({ state: { data } }) => (data?.some(({ state }) => state === 'computing') ? LOOK_MS : false),
  });
  const health = useHealth();
  // A server that is loading has not got its engines yet; that is no reason to say that it has none.
  const loading = health.kind === 'known' && health.health.status === 'loading';
  const cloning = useQuery({
    queryKey: keys.cloning,
    queryFn: ({ signal }) => getCloning(signal),
    refetchInterval: ({ state: { data } }) => (data?.available === false ? LOOK_MS * 4 : false),
  });

  if (voices.isError && voices.data === undefined) {
    return <Problem error={voices.error} title={t('voices.title')} retry={() => void voices.refetch()} />;
  }
  const own = voices.data?.filter(({ kind }) => kind === 'profile') ?? [];
  const built = voices.data?.filter(({ kind }) => kind === 'preset') ?? [];
  return (
    <div className={styles.voices}>
      <header className={styles.head}>
        <div>
          <h1>{t('voices.title')}</h1>
          <p>{t('voices.subtitle')}</p>
        </div>
        {!adding && (
          <button type="button" className="button primary" data-testid="open-add" onClick={() => setAdding(true)}>
            <Plus size={18} aria-hidden="true" />
            {t('voices.add')}
          </button>
        )}
      </header>

      {cloning.data !== undefined && !cloning.data.available && !loading && (
        <aside className={styles.notice} data-testid="no-cloning">
          <Info size={20} strokeWidth={1.75} aria-hidden="true" />
          <div>
            <h2>{t('voices.noCloningTitle')}</h2>
            <p>{t('voices.noCloning')}</p>
            {cloning.data.hint !== null && <code>{cloning.data.hint}</code>}
          </div>
        </aside>
      )}

      {adding && <AddVoice cloning={cloning.data} onClose={() => setAdding(false)} />}

      {voices.data === undefined ? (
        <Skeleton rows={4} height={92} label={t('voices.loading')} />
      ) : (
        <>
          <Group title={t('voices.own')} voices={own}>
            {own.length === 0 && (
              <p className={styles.none} data-testid="no-voices">
                <AudioLines size={20} strokeWidth={1.75} aria-hidden="true" />
                {t('voices.none')}
              </p>
            )}
          </Group>
          {built.length > 0 && <Group title={t('voices.built')} voices={built} />}
        </>
      )}
    </div>
  );
}

function Group({ title, voices, children }: { title: string; voices: Voice[]; children?: React.ReactNode }) {
  return (
    <section className={styles.group}>
      <h2>{title}</h2>
      {voices.length > 0 && (
        <ul>
          {voices.map((voice) => (
            <VoiceRow key={voice.id} voice={voice} />
          ))}
        </ul>
      )}
      {children}
    </section>
  );
}
