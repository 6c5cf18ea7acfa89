import { Mic, Unplug } from 'lucide-react';
import { useTranslation } from 'react-i18next';
import { useCall } from '../app/call-context';
import styles from './FailureCard.module.css';

/** A talk broke off, as by a page that was loaded anew: it can be gone on with. */
export function BrokenTalk() {
  const { t } = useTranslation();
  const call = useCall();
  return (
    <section className={styles.card} data-testid="broken-talk" aria-label={t('talk.broken.title')}>
      <h2>
        <Unplug size={20} aria-hidden="true" className={styles.plain} />
        {t('talk.broken.title')}
      </h2>
      <p>{t('talk.broken.body')}</p>
      <div className={styles.actions}>
        <button type="button" className="button primary" data-testid="go-on" onClick={() => void call.goOn()}>
          <Mic size={18} aria-hidden="true" />
          {t('talk.broken.goOn')}
        </button>
        <button type="button" className="button" data-testid="let-go" onClick={call.letGo}>
          {t('talk.broken.letGo')}
        </button>
      </div>
    </section>
  );
}
