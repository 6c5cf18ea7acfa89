import { useEffect, type RefObject } from 'react';
import { useCall } from '../app/call-context';

/** How often the meter's value for assistive technology is renewed. */
const SPOKEN_EVERY_MS = 200;

/**
 * Draws both sides' loudness once a frame as `--mic` and `--reply` (0 to 1) on `stage`, past React: sixty renders a second would
 * cost more than the call.
 */
export function useLevels(
  running: boolean,
  stage: RefObject<HTMLElement | null>,
  meter: RefObject<HTMLElement | null>,
): void {
  const call = useCall();
  useEffect(() => {
    const element = stage.current;
    if (!running || element === null) return;
    let frame = 0;
    let spoken = 0;
    const draw = (now: number) => {
      const level = call.microphoneLevel();
      element.style.setProperty('--mic', level.toFixed(3));
      element.style.setProperty('--reply', call.replyLevel().toFixed(3));
      if (now - spoken > SPOKEN_EVERY_MS) {
        spoken = now;
        meter.current?.setAttribute('aria-valuenow', String(Math.round(level * 100)));
      }
      frame = requestAnimationFrame(draw);
    };
    frame = requestAnimationFrame(draw);
    return () => {
      cancelAnimationFrame(frame);
      element.style.removeProperty('--mic');
      element.style.removeProperty('--reply');
      meter.current?.setAttribute('aria-valuenow', '0');
    };
  }, [call, running, stage, meter]);
}
