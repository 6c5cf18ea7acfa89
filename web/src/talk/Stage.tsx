import { Mic, MicOff, PhoneOff, Volume2, X } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useCall } from '../app/call-context';
import type { CallView } from '../realtime/call';
import { useHealth } from '../status/health-context';
import { clock } from '../ui/format';
import { BrokenTalk } from './BrokenTalk';
import { FailureCard } from './FailureCard';
import { LastAnswer } from './LastAnswer';
import styles from './Stage.module.css';
import { stanceOf, type Stance } from './stance';
import { TalkButton } from './TalkButton';
import { useLevels } from './use-levels';
import { VoiceChooser } from './VoiceChooser';

/** The left of Talk: the button, whose turn it is, the microphone, and what the last answer took. */
export function Stage({ view }: { view: CallView }) {
  const { t } = useTranslation();
  const call = useCall();
  const health = useHealth();
  const loaded = health.kind === 'known' && health.health.status === 'loading' ? (health.health.percent ?? 0) : null;
  const stance = stanceOf(view, loaded !== null);
  const { phase } = view;
  const inCall = phase.kind === 'live' || phase.kind === 'reconnecting';
  const busy = inCall || phase.kind === 'asking' || phase.kind === 'connecting';
  const stage = useRef<HTMLElement>(null);
  const meter = useRef<HTMLDivElement>(null);
  useLevels(inCall || phase.kind === 'connecting', stage, meter);

  return (
    <section ref={stage} className={styles.stage} data-stance={stance} aria-label={t('talk.title')}>
      <p className={styles.connection} data-testid="connection-state" data-state={phase.kind}>
        <span className={styles.dot} aria-hidden="true" />
        {phase.kind === 'reconnecting' && view.offline ? t('talk.connection.offline') : t(`talk.connection.${phase.kind}`)}
        {inCall && <CallClock since={phase.since} />}
      </p>

      <TalkButton stance={stance} />

      {/* A failure says more than the state's one word, in the same place. */}
      <div className={stance === 'failed' ? 'visually-hidden' : styles.words}>
        <h1>
          <span role="status">{t(`talk.state.${stance}`)}</span>
        </h1>
        {stance !== 'failed' && <p>{hint(stance)}</p>}
      </div>

      <div className={styles.controls} role="group" aria-label={t('talk.controls')}>
        <button
          type="button"
          className={styles.control}
          data-testid="mute"
          data-hidden={!inCall}
          disabled={!inCall}
          aria-pressed={view.muted}
          aria-label={t('talk.mute')}
          title={t(view.muted ? 'talk.unmute' : 'talk.mute')}
          onClick={() => call.setMuted(!view.muted)}
        >
          {view.muted ? <MicOff size={20} aria-hidden="true" /> : <Mic size={20} aria-hidden="true" />}
        </button>
        <div
          ref={meter}
          className={styles.meter}
          data-testid="mic-level"
          role="meter"
          aria-label={t('talk.micLevel')}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={0}
        >
          <span />
        </div>
        <button
          type="button"
          className={`${styles.control} ${styles.hangUp}`}
          data-testid="hang-up"
          data-hidden={!busy}
          disabled={!busy}
          aria-label={t(inCall ? 'talk.hangUp' : 'talk.cancel')}
          title={t(inCall ? 'talk.hangUp' : 'talk.cancel')}
          onClick={call.hangUp}
        >
          {inCall ? <PhoneOff size={20} aria-hidden="true" /> : <X size={20} aria-hidden="true" />}
        </button>
      </div>

      <div className={styles.voice}>
        <VoiceChooser disabled={phase.kind === 'asking' || phase.kind === 'connecting' || phase.kind === 'reconnecting'} />
      </div>

      <div className={styles.below}>
        {view.soundBlocked && (
          <div className={styles.notice} role="alert" data-testid="failure" data-kind="sound-blocked">
            <p>{t('talk.soundBlocked')}</p>
            <button type="button" className="button primary" onClick={call.unblockSound}>
              <Volume2 size={18} aria-hidden="true" />
              {t('talk.soundOn')}
            </button>
          </div>
        )}
        {stance === 'loading' && loaded !== null && (
          <div className={styles.progress} data-testid="loading">
            <div
              className="progress-bar"
              role="progressbar"
              aria-label={t('talk.loading')}
              aria-valuemin={0}
              aria-valuemax={100}
              aria-valuenow={loaded}
            >
              <span style={{ width: `${loaded}%` }} />
            </div>
            <p>{t('talk.loadingShare', { percent: loaded })}</p>
          </div>
        )}
        {phase.kind === 'failed' ? (
          <FailureCard failure={phase.failure} at={phase.at} broken={view.broken !== null} />
        ) : stance === 'loading' ? null : view.broken !== null && !busy ? (
          <BrokenTalk />
        ) : (
          <LastAnswer stages={view.session.timings} expected={busy} />
        )}
        {view.session.fault !== null && phase.kind !== 'failed' && (
          <p className={styles.fault} role="status">
            {t('talk.fault', { message: view.session.fault })}
          </p>
        )}
      </div>
    </section>
  );

  function hint(shown: Exclude<Stance, 'failed'>): string {
    if (phase.kind === 'reconnecting') return t(view.offline ? 'talk.hint.offline' : 'talk.hint.reconnecting');
    if (phase.kind !== 'ended' || shown === 'loading') return t(`talk.hint.${shown}`);
    return t(view.session.turns.length > 0 ? 'talk.hint.ended' : 'talk.hint.endedEmpty', { time: clock(phase.seconds) });
  }
}

function CallClock({ since }: { since: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  return <span className={styles.clock}>{clock((now - since) / 1000)}</span>;
}
