import { useId } from 'react';
import { useTranslation } from 'react-i18next';
import type { en } from '../i18n/en';
import styles from './StatusBadge.module.css';
import { useHealth } from './health-context';

type EngineRole = keyof typeof en.status.engine;
type EngineState = keyof typeof en.status.state;

/** The server's health in one word, and its engines on demand. */
export function StatusBadge() {
  const { t, i18n } = useTranslation();
  const view = useHealth();
  const panel = useId();
  const status = view.kind === 'known' ? view.health.status : view.kind;
  const percent = view.kind === 'known' ? view.health.percent : null;
  const word = percent === null ? t(`status.${status}`) : t('status.loadingShare', { percent });
  const hasRole = (role: string): role is EngineRole => i18n.exists(`status.engine.${role}`);
  const engineState = (state: string, percent: number | null): string => {
    if (state === 'loading' && percent !== null && percent > 0) return t('status.loaded', { percent });
    return hasState(state) ? t(`status.state.${state}`) : state;
  };
  const hasState = (state: string): state is EngineState => i18n.exists(`status.state.${state}`);

  return (
    <>
      <button
        type="button"
        className={styles.badge}
        data-status={status}
        data-testid="status"
        aria-label={t('status.open', { status: word })}
        popoverTarget={panel}
      >
        <span className={styles.dot} aria-hidden="true" />
        <span className={styles.word}>{word}</span>
      </button>
      <div id={panel} popover="auto" className={styles.panel} data-status={status} role="dialog" aria-label={t('status.title')}>
        <h2>{t('status.title')}</h2>
        <p>{t(`status.${status}Long`)}</p>
        {view.kind === 'known' && (
          <>
            <ul>
              {view.health.engines.map(({ role, name, state, percent }) => (
                <li key={role} data-state={state}>
                  <span className={styles.role}>{hasRole(role) ? t(`status.engine.${role}`) : role}</span>
                  <span className={styles.name}>{name}</span>
                  <span className={styles.state}>{engineState(state, percent)}</span>
                </li>
              ))}
            </ul>
            {view.health.calls !== null && <p className={styles.calls}>{t('status.calls', view.health.calls)}</p>}
          </>
        )}
      </div>
    </>
  );
}
