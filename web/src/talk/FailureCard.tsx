import { Hourglass, KeyRound, Lock, MicOff, PhoneMissed, PhoneOff, ServerOff, TriangleAlert, WifiOff, type LucideIcon } from 'lucide-react';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useCall, useCallView } from '../app/call-context';
import type { Failure, FailureKind } from '../realtime/failure';
import { KeyForm } from '../ui/KeyForm';
import { clock } from '../ui/format';
import styles from './FailureCard.module.css';

const icons: Record<FailureKind, LucideIcon> = {
  insecure: Lock,
  unsupported: TriangleAlert,
  'no-microphone': MicOff,
  'microphone-busy': MicOff,
  permission: MicOff,
  'microphone-lost': MicOff,
  full: PhoneMissed,
  draining: PhoneMissed,
  loading: Hourglass,
  key: KeyRound,
  engine: ServerOff,
  unreachable: WifiOff,
  'no-path': WifiOff,
  dropped: PhoneOff,
  expired: PhoneOff,
  rejected: TriangleAlert,
};

/** Nothing that the user can press would help: another page or another browser is needed. */
const hopeless: readonly FailureKind[] = ['insecure', 'unsupported'];

/** What went wrong, in plain words, and what to do about it. `at`: when, in ms since the epoch; `broken`: the talk can be gone on with. */
export function FailureCard({ failure, at, broken }: { failure: Failure; at: number; broken: boolean }) {
  const { t } = useTranslation();
  const call = useCall();
  const Icon = icons[failure.kind];
  const wait = 'retryAfter' in failure ? failure.retryAfter : null;
  // Of a busy server the countdown tells more than its own words.
  const detail = wait === null && 'detail' in failure ? failure.detail : null;

  return (
    <section className={styles.card} role="alert" data-testid="failure" data-kind={failure.kind}>
      <h2>
        <Icon size={20} aria-hidden="true" />
        {t(`failure.${failure.kind}.title`)}
      </h2>
      <p>{t(failure.kind === 'key' && failure.wrong ? 'key.wrong' : `failure.${failure.kind}.body`)}</p>
      {failure.kind === 'key' && <KeyForm wrong={failure.wrong} done={() => void (broken ? call.goOn() : call.start())} />}
      {detail !== null && (
        <p className={styles.detail}>
          <span>{t('failure.serverSays')}</span>
          {detail}
        </p>
      )}
      {wait !== null && <Countdown key={at} until={at + wait * 1000} />}
      <div className={styles.actions}>
        {failure.kind !== 'key' && !hopeless.includes(failure.kind) && (
          <button
            type="button"
            className="button primary"
            data-testid="try-again"
            onClick={() => void (broken ? call.goOn() : call.start())}
          >
            {t(broken ? 'talk.broken.goOn' : wait === null ? 'failure.again' : 'failure.now')}
          </button>
        )}
        <button type="button" className="button" onClick={call.dismiss}>
          {t('failure.close')}
        </button>
      </div>
    </section>
  );
}

/** Counts down to the time the server named, and offers to call by itself then. */
function Countdown({ until }: { until: number }) {
  const { t } = useTranslation();
  const call = useCall();
  const { callingAgain } = useCallView();
  const [now, setNow] = useState(Date.now);
  const left = Math.max(0, Math.ceil((until - now) / 1000));

  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, []);

  useEffect(() => {
    if (callingAgain && left === 0) void call.start();
  }, [callingAgain, left, call]);

  return (
    <div className={styles.countdown}>
      <p aria-hidden="true" data-testid="retry-countdown">
        {left === 0
          ? t('failure.worthATryNow')
          : t(callingAgain ? 'failure.callingAgain' : 'failure.worthATry', { time: clock(left) })}
      </p>
      <label>
        <input
          type="checkbox"
          role="switch"
          checked={callingAgain}
          data-testid="auto-retry"
          onChange={({ target }) => call.setCallingAgain(target.checked)}
        />
        {t('failure.autoRetry')}
      </label>
    </div>
  );
}
