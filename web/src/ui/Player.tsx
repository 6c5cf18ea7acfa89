import { LoaderCircle, Pause, Play } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError, fetchRecording } from '../api/http';
import { apiKey } from '../api/key';
import { clock } from './format';
import styles from './Player.module.css';

/** The recording that is playing: starting another pauses it. */
let playing: HTMLAudioElement | null = null;

interface Props {
  src: string;
  /** As the server measured it, so that the length shows before anything is fetched. */
  durationMs: number | null;
  label: string;
  testid: string;
  tone: 'caller' | 'avatar';
}

/** A compact player for one recording. Fetches nothing until it is pressed. */
export function Player({ src, durationMs, label, testid, tone }: Props) {
  const { t } = useTranslation();
  const audio = useRef<HTMLAudioElement>(null);
  const [state, setState] = useState<'paused' | 'loading' | 'playing' | 'failed'>('paused');
  const [at, setAt] = useState(0);
  const [length, setLength] = useState(durationMs === null ? null : durationMs / 1000);

  // The clock of `timeupdate` ticks four times a second; the bar of a two-second clip wants every frame.
  useEffect(() => {
    if (state !== 'playing') return;
    let frame = 0;
    const draw = () => {
      if (audio.current !== null) setAt(audio.current.currentTime);
      frame = requestAnimationFrame(draw);
    };
    frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [state]);

  // Where the server wants a key the recording is fetched with it, at the first press.
  const fetched = useRef<string | null>(null);
  useEffect(
    () => () => {
      if (fetched.current !== null) URL.revokeObjectURL(fetched.current);
    },
    [],
  );
  const start = async (element: HTMLAudioElement) => {
    // A recording that was made here needs no server and no key.
    if (apiKey() !== null && fetched.current === null && !src.startsWith('blob:')) {
      fetched.current = await fetchRecording(src);
      element.src = fetched.current;
    }
    await element.play();
  };

  const toggle = () => {
    const element = audio.current;
    if (element === null) return;
    if (!element.paused) {
      element.pause();
      return;
    }
    if (state === 'failed') element.load();
    setState('loading');
    void start(element).catch((error: unknown) => {
      // Pausing before the sound has come rejects too; only a real error is one.
      setState(element.error !== null || error instanceof ApiError ? 'failed' : 'paused');
    });
  };

  return (
    <div className={styles.player} data-tone={tone} data-state={state}>
      <audio
        ref={audio}
        src={src}
        preload="none"
        onPlay={({ currentTarget }) => {
          if (playing !== null && playing !== currentTarget) playing.pause();
          playing = currentTarget;
        }}
        onPlaying={() => setState('playing')}
        onWaiting={() => setState('loading')}
        // A recording that cannot be played pauses right after its error.
        onPause={({ currentTarget: { error } }) => setState(error === null ? 'paused' : 'failed')}
        onEnded={({ currentTarget }) => {
          currentTarget.currentTime = 0;
          setAt(0);
        }}
        onError={() => setState('failed')}
        onLoadedMetadata={({ currentTarget: { duration } }) => {
          if (Number.isFinite(duration)) setLength(duration);
        }}
      />
      <button
        type="button"
        className={styles.button}
        data-testid={testid}
        aria-label={state === 'playing' ? t('history.pause') : label}
        aria-busy={state === 'loading'}
        onClick={toggle}
      >
        {state === 'loading' ? (
          <LoaderCircle size={16} className={styles.spin} aria-hidden="true" />
        ) : state === 'playing' ? (
          <Pause size={16} fill="currentColor" strokeWidth={0} aria-hidden="true" />
        ) : (
          <Play size={16} fill="currentColor" strokeWidth={0} aria-hidden="true" />
        )}
      </button>
      {state === 'failed' ? (
        <p className={styles.failed} role="alert">
          {t('history.audioFailed')}
        </p>
      ) : (
        <>
          <input
            type="range"
            className={styles.seek}
            aria-label={t('history.seek')}
            aria-valuetext={clock(at)}
            min={0}
            max={length ?? 0}
            step={0.05}
            value={Math.min(at, length ?? 0)}
            disabled={length === null}
            style={{ '--done': `${length ? Math.min((at / length) * 100, 100) : 0}%` } as React.CSSProperties}
            onChange={({ target }) => {
              const to = Number(target.value);
              setAt(to);
              if (audio.current !== null) audio.current.currentTime = to;
            }}
          />
          <span className={styles.time}>
            {length === null ? '–:––' : clock(state === 'playing' || at > 0 ? at : Math.max(1, Math.round(length)))}
          </span>
        </>
      )}
    </div>
  );
}
