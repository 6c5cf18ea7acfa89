import { Mic, MicOff } from 'lucide-react';
import { useTranslation } from 'react-i18next';
import { useCall } from '../app/call-context';
import { pressOf, type Stance } from './stance';
import styles from './TalkButton.module.css';

/** The one big button. Its face says whose turn it is; pressing it starts a call, stops a reply, or mutes. */
export function TalkButton({ stance }: { stance: Stance }) {
  const { t } = useTranslation();
  const call = useCall();
  const press = pressOf(stance);

  const label = {
    start: t(stance === 'ended' ? 'talk.startAgain' : 'talk.start'),
    'stop-reply': t('talk.stopReply'),
    mute: t('talk.mute'),
    unmute: t('talk.unmute'),
  };
  const act = {
    start: () => void call.start(),
    'stop-reply': call.stopReply,
    mute: () => call.setMuted(true),
    unmute: () => call.setMuted(false),
  };

  return (
    <div className={styles.frame} data-stance={stance}>
      <span className={styles.halo} aria-hidden="true" />
      <span className={styles.ring} aria-hidden="true" />
      <button
        type="button"
        className={styles.button}
        data-testid="talk-button"
        data-state={stance}
        aria-label={press === null ? t(`talk.state.${stance}`) : label[press]}
        aria-disabled={press === null}
        onClick={() => press !== null && act[press]()}
      >
        <Face stance={stance} />
      </button>
    </div>
  );
}

function Face({ stance }: { stance: Stance }) {
  if (stance === 'speaking') {
    return (
      <span className={styles.bars} aria-hidden="true">
        {[0.55, 0.85, 1, 0.75, 0.5].map((share, index) => (
          <span key={index} style={{ '--share': share } as React.CSSProperties} />
        ))}
      </span>
    );
  }
  if (stance === 'thinking') {
    return (
      <span className={styles.dots} aria-hidden="true">
        <span />
        <span />
        <span />
      </span>
    );
  }
  const Icon = stance === 'muted' ? MicOff : Mic;
  return <Icon className={styles.icon} strokeWidth={1.6} aria-hidden="true" />;
}
