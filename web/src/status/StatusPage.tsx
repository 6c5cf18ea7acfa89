import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { getStatus, type EngineHealth, type ServerStatus } from '../api/health';
import { keys } from '../app/query-keys';
import { bytes, uptime, whole } from '../ui/format';
import { Problem } from '../ui/Problem';
import { Skeleton } from '../ui/Skeleton';
import { useEngineWords } from './engine-words';
import styles from './StatusPage.module.css';

/** How often the page looks while it is seen. Loading and queues are to be seen moving. */
const LOOK_MS = 2_000;

/** What the server is doing: its engines, its lines, its memory, its queues. */
export function StatusPage() {
  const { t } = useTranslation();
  const { data, error, isError, refetch } = useQuery({
    queryKey: keys.status,
    queryFn: ({ signal }) => getStatus(signal),
    refetchInterval: LOOK_MS,
    staleTime: 0,
  });
  if (isError) {
    return <Problem error={error} title={t('status.title')} retry={() => void refetch()} />;
  }
  return (
    <div className={styles.status} data-testid="status-page">
      <header>
        <h1>{t('status.title')}</h1>
        {data !== undefined && <Summary status={data} />}
      </header>
      {data === undefined ? (
        <Skeleton rows={5} height={84} label={t('status.checkingLong')} />
      ) : (
        <>
          <Figures status={data} />
          <section>
            <h2>{t('status.engines')}</h2>
            <ul className={styles.engines}>
              {data.engines.map((engine, index) => (
                <Engine key={`${engine.role} ${engine.name} ${index}`} engine={engine} />
              ))}
            </ul>
          </section>
        </>
      )}
    </div>
  );
}

function Summary({ status: { version, uptimeS } }: { status: ServerStatus }) {
  const { t, i18n } = useTranslation();
  const parts = [
    version === null ? null : t('status.version', { version }),
    uptimeS === null ? null : t('status.uptime', { time: uptime(uptimeS, i18n.language) }),
  ].filter((part) => part !== null);
  return <p>{parts.length === 0 ? t('status.subtitle') : parts.join(' · ')}</p>;
}

/** What an older server does not tell is left out. */
function Figures({ status: { calls, memoryBytes, hq, history } }: { status: ServerStatus }) {
  const { t, i18n } = useTranslation();
  const locale = i18n.language;
  return (
    <dl className={styles.figures}>
      {calls !== null && (
        <div data-testid="status-calls">
          <dt>{t('status.lines')}</dt>
          <dd>
            {whole(calls.active, locale)} <small>{t('status.of', { limit: whole(calls.limit, locale) })}</small>
          </dd>
          <dd className={`progress-bar ${styles.bar}`} aria-hidden="true">
            <span style={{ width: `${calls.limit > 0 ? Math.min(100, (calls.active / calls.limit) * 100) : 0}%` }} />
          </dd>
        </div>
      )}
      {memoryBytes !== null && (
        <div data-testid="status-memory">
          <dt>{t('status.memory')}</dt>
          <dd>{bytes(memoryBytes, locale)}</dd>
          <dd className={styles.note}>{t('status.memoryNote')}</dd>
        </div>
      )}
      {hq !== null && (
        <div data-testid="status-hq">
          <dt>{t('status.hq')}</dt>
          <dd>
            {whole(hq.pending + hq.rendering, locale)} <small>{t('status.hqWaiting')}</small>
          </dd>
          <dd className={styles.note} data-bad={hq.failed > 0}>
            {hq.failed > 0 ? t('status.hqFailed', { count: hq.failed }) : hq.rendering > 0 ? t('status.hqRunning') : t('status.hqIdle')}
          </dd>
        </div>
      )}
      {history !== null && (
        <div data-testid="status-history">
          <dt>{t('status.history')}</dt>
          <dd>{bytes(history.bytes, locale)}</dd>
          <dd className={styles.note}>
            {t('status.conversations', { count: history.conversations, shown: whole(history.conversations, locale) })}
            {' · '}
            {t('status.turns', { count: history.turns, shown: whole(history.turns, locale) })}
          </dd>
        </div>
      )}
    </dl>
  );
}

function Engine({ engine: { role, name, state, percent, hint, queue } }: { engine: EngineHealth }) {
  const { t } = useTranslation();
  const { roleName, stateName } = useEngineWords();
  const loading = state === 'loading' || state === 'warming_up';
  return (
    <li data-testid="engine" data-role={role} data-state={state}>
      <div className={styles.engine}>
        <p className={styles.role}>{roleName(role)}</p>
        <p className={styles.name}>{name}</p>
      </div>
      <p className={styles.queue}>
        {queue !== null && (queue.waiting > 0 || queue.busy > 0)
          ? t('status.queue', { busy: queue.busy, waiting: queue.waiting })
          : ''}
      </p>
      <p className={styles.state}>
        <span aria-hidden="true" />
        {stateName(state, percent)}
      </p>
      {loading && (
        <div
          className={`progress-bar ${styles.progress}`}
          role="progressbar"
          aria-label={t('status.loadingEngine', { name: roleName(role) })}
          aria-valuemin={0}
          aria-valuemax={100}
          {...(percent === null ? {} : { 'aria-valuenow': percent })}
          data-busy={percent === null}
        >
          <span style={{ width: `${percent ?? 100}%` }} />
        </div>
      )}
      {hint !== null && <p className={styles.hint}>{hint}</p>}
    </li>
  );
}
