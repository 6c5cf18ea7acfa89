import { useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { useCall } from '../app/call-context';
import styles from './LiveWave.module.css';
import { Wave } from './wave';

const SLOT_MS = 50;
const BAR_PX = 3;
const STEP_PX = 5;
/** As wide as the widest pane. */
const SLOTS = 240;
/** What is silent still shows that time goes on; squared, syllables stand out of the meter's decibels. */
const LEAST_PX = 1;

/** Both sides' sound as it runs past: the caller above the line, the avatar below. */
export function LiveWave({ running }: { running: boolean }) {
  const { t } = useTranslation();
  const call = useCall();
  const canvas = useRef<HTMLCanvasElement>(null);
  const names = useRef<HTMLElement>(null);

  useEffect(() => {
    const element = canvas.current;
    const paint = element?.getContext('2d') ?? null;
    if (!running || element === null || paint === null) return;
    const wave = new Wave(SLOT_MS, SLOTS);
    let frame = 0;
    const draw = (now: number) => {
      wave.take(now, call.peaks());
      const { clientWidth: width, clientHeight: height } = element;
      const scale = window.devicePixelRatio;
      if (element.width !== Math.round(width * scale) || element.height !== Math.round(height * scale)) {
        element.width = Math.round(width * scale);
        element.height = Math.round(height * scale);
      }
      // A canvas knows no `light-dark()`, so it takes the colours that the names have got; anew each time, for the theme may change.
      const [caller, reply] = [...(names.current?.children ?? [])].map((name) => getComputedStyle(name).color);
      paint.setTransform(scale, 0, 0, scale, 0, 0);
      paint.clearRect(0, 0, width, height);
      const middle = height / 2;
      const room = middle - 2;
      const slots = wave.read();
      const shift = ((now % SLOT_MS) / SLOT_MS) * STEP_PX;
      for (let i = 1; i <= Math.min(slots.length, Math.ceil(width / STEP_PX) + 1); i += 1) {
        const slot = slots[slots.length - i];
        if (slot === undefined) break;
        const x = width - i * STEP_PX - shift + STEP_PX;
        paint.fillStyle = caller ?? '';
        const up = Math.max(LEAST_PX, slot.caller ** 2 * room);
        paint.fillRect(x, middle - 1 - up, BAR_PX, up);
        paint.fillStyle = reply ?? '';
        const down = Math.max(LEAST_PX, slot.reply ** 2 * room);
        paint.fillRect(x, middle + 1, BAR_PX, down);
      }
      frame = requestAnimationFrame(draw);
    };
    frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [call, running]);

  if (!running) return null;
  return (
    <figure className={styles.wave} data-testid="live-wave">
      <canvas ref={canvas} role="img" aria-label={t('talk.wave')} />
      <figcaption ref={names} aria-hidden="true">
        <span data-role="user">{t('transcript.you')}</span>
        <span data-role="assistant">{t('transcript.avatar')}</span>
      </figcaption>
    </figure>
  );
}
