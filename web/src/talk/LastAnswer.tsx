import { ChevronDown } from 'lucide-react';
import { useId, useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Stages } from '../realtime/events';
import { milliseconds } from '../ui/format';
import { Waterfall } from '../ui/Waterfall';
import styles from './LastAnswer.module.css';

const nothing: Stages = {
  turn_commit_ms: null,
  text_final_ms: null,
  first_token_ms: null,
  first_sentence_ms: null,
  first_audio_ms: null,
  first_packet_ms: null,
};

/**
 * How long the last answer took, and where the time went. Takes its room from the start, so that nothing moves when it comes.
 * `expected`: a call runs, so that an answer can be waited for.
 */
export function LastAnswer({ stages, expected }: { stages: Stages | null; expected: boolean }) {
  const { t, i18n } = useTranslation();
  const [open, setOpen] = useState(false);
  const details = useId();
  const shows = stages !== null ? 'answer' : expected ? 'promise' : 'nothing';
  const voiceToVoice = stages?.first_packet_ms ?? null;

  return (
    <section className={styles.answer} data-testid="timings" data-shows={shows} aria-label={t('timings.title')}>
      <div className={styles.head}>
        <p className={styles.number}>
          <span data-testid="voice-to-voice">
            {voiceToVoice === null ? '–' : milliseconds(voiceToVoice, i18n.language)}
          </span>
          <small>{t('timings.ms')}</small>
        </p>
        <p className={styles.caption}>{t(stages === null ? 'timings.empty' : 'timings.voiceToVoice')}</p>
        <button
          type="button"
          className={styles.toggle}
          aria-expanded={open}
          aria-controls={details}
          aria-label={t('timings.show')}
          disabled={stages === null}
          onClick={() => setOpen(!open)}
        >
          <ChevronDown size={20} aria-hidden="true" />
        </button>
      </div>
      <div id={details} className={styles.details} data-open={open}>
        <Waterfall stages={stages ?? nothing} />
      </div>
    </section>
  );
}
