import { useTranslation } from 'react-i18next';
import type { Stages } from '../realtime/events';
import { layOut } from './waterfall-layout';
import { milliseconds } from './format';
import styles from './Waterfall.module.css';

/** A turn's stages on one axis that begins at the caller's last word. */
export function Waterfall({ stages }: { stages: Stages }) {
  const { t, i18n } = useTranslation();
  const { rows, commit } = layOut(stages);
  return (
    <dl className={styles.waterfall} aria-label={t('timings.stages')}>
      {rows.map(({ name, at, from, to }) => (
        <div key={name} className={styles.row} data-stage={name}>
          <dt>{t(`timings.${name}`)}</dt>
          <dd className={styles.track} aria-hidden="true">
            {commit !== null && <span className={styles.commit} style={{ left: `${commit}%` }} />}
            {at !== null && <span className={styles.bar} style={{ left: `${from}%`, right: `${100 - to}%` }} />}
          </dd>
          <dd className={styles.value}>
            {at === null ? (
              <span aria-label={t('timings.notReached')}>–</span>
            ) : (
              <>
                {milliseconds(at, i18n.language)}
                <span className="visually-hidden"> {t('timings.ms')}</span>
              </>
            )}
          </dd>
        </div>
      ))}
    </dl>
  );
}
