import { Mic, RotateCcw, Square } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { clock } from '../ui/format';
import { Player } from '../ui/Player';
import { lengthWord, levelWord, LONGEST_S, SHORTEST_S, type LevelWord } from './recording';
import type { Recorder } from './use-recorder';
import styles from './AddVoice.module.css';

/** How often the words under the meter may change: faster than this nobody reads. */
const WORDS_EVERY_MS = 1_200;

/** A text to read aloud, the button, and how it is going. */
export function RecordPanel({ recorder, reading }: { recorder: Recorder; reading: string }) {
  const { t } = useTranslation();
  const { state } = recorder;
  const running = state.kind === 'running';
  return (
    <div className={styles.record}>
      <p className={styles.lead}>{t('voices.record.lead')}</p>
      <blockquote className={styles.reading} data-testid="reading-text" data-running={running}>
        {reading}
      </blockquote>
      {state.kind === 'failed' && (
        <div className={styles.refused} role="alert" data-testid="record-failure" data-kind={state.failure}>
          <p>
            <strong>{t(`failure.${state.failure}.title`)}</strong>
          </p>
          <p>{t(`failure.${state.failure}.body`)}</p>
        </div>
      )}
      {running && <Gauge recorder={recorder} since={state.since} />}
      {state.kind === 'done' && (
        <div className={styles.taken}>
          <Player
            key={state.url}
            src={state.url}
            durationMs={state.seconds * 1000}
            label={t('voices.record.listen')}
            testid="play-recording"
            tone="caller"
          />
          {lengthWord(state.seconds) === 'short' && (
            <p className={styles.hint} role="alert">
              {t('voices.record.tooShort', { count: SHORTEST_S })}
            </p>
          )}
        </div>
      )}
      <div className={styles.recordActions}>
        {running ? (
          <button type="button" className={`button ${styles.stop}`} data-testid="record-stop" onClick={recorder.stop}>
            <Square size={16} fill="currentColor" aria-hidden="true" />
            {t('voices.record.stop')}
          </button>
        ) : (
          <button
            type="button"
            className={state.kind === 'done' ? 'button' : `button ${styles.start}`}
            data-testid="record-start"
            disabled={state.kind === 'asking'}
            onClick={() => void recorder.start()}
          >
            {state.kind === 'done' ? <RotateCcw size={16} aria-hidden="true" /> : <Mic size={18} aria-hidden="true" />}
            {t(state.kind === 'asking' ? 'voices.record.asking' : state.kind === 'done' ? 'voices.record.again' : 'voices.record.start')}
          </button>
        )}
      </div>
    </div>
  );
}

/** Level and time of the running recording. */
function Gauge({ recorder, since }: { recorder: Recorder; since: number }) {
  const { t } = useTranslation();
  const bar = useRef<HTMLDivElement>(null);
  const [seconds, setSeconds] = useState(0);
  const [word, setWord] = useState<LevelWord>('good');
  const { level } = recorder;

  useEffect(() => {
    let frame = 0;
    let loudest = 0;
    let said = performance.now();
    const draw = (now: number) => {
      const shown = level();
      loudest = Math.max(loudest, shown);
      bar.current?.style.setProperty('--level', shown.toFixed(3));
      setSeconds(Math.floor((Date.now() - since) / 1000));
      if (now - said > WORDS_EVERY_MS) {
        said = now;
        setWord(levelWord(loudest));
        bar.current?.setAttribute('aria-valuenow', String(Math.round(loudest * 100)));
        loudest = 0;
      }
      frame = requestAnimationFrame(draw);
    };
    frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [level, since]);

  return (
    <div className={styles.gauge}>
      <div
        ref={bar}
        className={styles.level}
        data-testid="record-level"
        data-word={word}
        role="meter"
        aria-label={t('talk.micLevel')}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={0}
        aria-valuetext={t(`voices.record.level.${word}`)}
      >
        <span />
      </div>
      <p className={styles.time}>
        <span>{t(`voices.record.level.${word}`)}</span>
        <span>
          {clock(seconds)} / {clock(LONGEST_S)}
        </span>
      </p>
    </div>
  );
}
