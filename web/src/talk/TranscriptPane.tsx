import { ArrowDown, Hand, Hourglass, ShieldCheck } from 'lucide-react';
import { useLayoutEffect, useRef, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { visibleTurns, type Session, type Turn } from '../realtime/session';
import { milliseconds } from '../ui/format';
import styles from './TranscriptPane.module.css';

/** Closer to the end than this, the pane follows what is said. */
const FOLLOW_WITHIN_PX = 80;

/** Both sides of the call in writing. Follows the end unless the reader has scrolled back. */
export function TranscriptPane({ session, live, children }: { session: Session; live: boolean; children?: ReactNode }) {
  const { t } = useTranslation();
  const turns = visibleTurns(session);
  const empty = turns.length === 0;
  const scroller = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element !== null && (following || empty)) element.scrollTop = empty ? 0 : element.scrollHeight;
  }, [session, following, empty]);

  return (
    <section className={styles.pane} aria-label={t('transcript.title')}>
      <div
        ref={scroller}
        className={styles.scroller}
        data-testid="transcript"
        tabIndex={0}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) =>
          setFollowing(scrollHeight - scrollTop - clientHeight < FOLLOW_WITHIN_PX)
        }
      >
        {empty ? (
          <Tips />
        ) : (
          <ol className={styles.turns}>
            {turns.map((turn) => (
              <TurnRow key={turn.id} turn={turn} />
            ))}
          </ol>
        )}
      </div>
      <Announcer turns={turns} live={live} />
      {!following && !empty && (
        <button type="button" className={`button ${styles.latest}`} onClick={() => setFollowing(true)}>
          <ArrowDown size={16} aria-hidden="true" />
          {t('transcript.latest')}
        </button>
      )}
      {children}
    </section>
  );
}

function TurnRow({ turn }: { turn: Turn }) {
  const { t, i18n } = useTranslation();
  if (turn.role === 'user') {
    const growing = turn.status === 'speaking' || turn.status === 'transcribing';
    return (
      <li className={styles.turn} data-role="user" data-status={turn.status} data-testid="turn-user">
        <p className={styles.who}>{t('transcript.you')}</p>
        {turn.status === 'failed' ? (
          <p className={styles.aside}>{t('transcript.unclear')}</p>
        ) : turn.text.trim() === '' ? (
          <p className={styles.aside}>{t('transcript.hearing')}</p>
        ) : (
          <p className={styles.text}>
            {turn.text}
            {growing && <span className={styles.caret} aria-hidden="true" />}
          </p>
        )}
      </li>
    );
  }
  const voiceToVoice = turn.timings?.first_packet_ms ?? null;
  return (
    <li className={styles.turn} data-role="assistant" data-status={turn.status} data-testid="turn-assistant">
      <p className={styles.who}>
        {t('transcript.avatar')}
        {voiceToVoice !== null && (
          <span className={styles.took} aria-label={t('timings.answeredIn', { ms: milliseconds(voiceToVoice, i18n.language) })}>
            {milliseconds(voiceToVoice, i18n.language)} {t('timings.ms')}
          </span>
        )}
      </p>
      {turn.text.trim() !== '' && <p className={styles.text}>{turn.text}</p>}
      {turn.status === 'interrupted' && (
        <p className={styles.mark} data-testid="interrupted">
          <Hand size={14} aria-hidden="true" />
          {t('transcript.interruptedLong')}
        </p>
      )}
      {turn.status === 'failed' && <p className={styles.aside}>{t('transcript.failed')}</p>}
    </li>
  );
}

/**
 * Reads out each side's words once they are final. The growing text itself is no live region: a screen reader would start anew
 * with every word.
 */
function Announcer({ turns, live }: { turns: Turn[]; live: boolean }) {
  const { t } = useTranslation();
  const last = turns.findLast((turn) => turn.status === 'final' || turn.status === 'done' || turn.status === 'interrupted');
  const text =
    !live || last === undefined || last.text.trim() === ''
      ? ''
      : t(last.role === 'user' ? 'transcript.saidYou' : 'transcript.saidAvatar', { text: last.text });
  return (
    <p className="visually-hidden" role="log" aria-live="polite">
      {text}
    </p>
  );
}

function Tips() {
  const { t } = useTranslation();
  const tips = [
    { icon: Hourglass, title: t('transcript.tips.pauseTitle'), body: t('transcript.tips.pause') },
    { icon: Hand, title: t('transcript.tips.interruptTitle'), body: t('transcript.tips.interrupt') },
    { icon: ShieldCheck, title: t('transcript.tips.privateTitle'), body: t('transcript.tips.private') },
  ];
  return (
    <div className={styles.tips}>
      <p className={styles.lead}>{t('transcript.empty')}</p>
      <ul>
        {tips.map(({ icon: Icon, title, body }) => (
          <li key={title}>
            <Icon size={20} strokeWidth={1.75} aria-hidden="true" />
            <div>
              <h2>{title}</h2>
              <p>{body}</p>
            </div>
          </li>
        ))}
      </ul>
    </div>
  );
}
