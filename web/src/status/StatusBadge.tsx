import { useId, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'wouter';
import { useEngineWords } from './engine-words';
import styles from './StatusBadge.module.css';
import { useHealth } from './health-context';

/** The server's health in one word, and its engines on demand. */
export function StatusBadge() {
  const { t } = useTranslation();
  const { roleName, stateName } = useEngineWords();
  const popover = useRef<HTMLDivElement>(null);
  const view = useHealth();
  const panel = useId();
  const status = view.kind === 'known' ? view.health.status : view.kind;
  const percent = view.kind === 'known' ? view.health.percent : null;
  const word = percent === null ? t(`status.${status}`) : t('status.loadingShare', { percent });

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
      <div ref={popover} id={panel} popover="auto" className={styles.panel} data-status={status} role="dialog" aria-label={t('status.title')}>
        <h2>{t('status.title')}</h2>
        <p>{t(`status.${status}Long`)}</p>
        {view.kind === 'known' && (
          <>
            <ul>
              {view.health.engines.map(({ role, name, state, percent }) => (
                <li key={role} data-state={state}>
                  <span className={styles.role}>{roleName(role)}</span>
                  <span className={styles.name}>{name}</span>
                  <span className={styles.state}>{stateName(state, percent)}</span>
                </li>
              ))}
            </ul>
            {view.health.calls !== null && <p className={styles.calls}>{t('status.calls', view.health.calls)}</p>}
          </>
        )}
        <Link href="/status" data-testid="status-more" className={`button small ${styles.more}`} onClick={() => popover.current?.hidePopover()}>
          {t('status.more')}
        </Link>
      </div>
    </>
  );
}
