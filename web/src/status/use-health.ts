import { useEffect, useState } from 'react';
import { getHealth, type Health } from '../api/client';

export type HealthView = { kind: 'checking' } | { kind: 'known'; health: Health } | { kind: 'unreachable' };

const EVERY_MS = 15_000;
/** While something is wrong the page looks more often, so that it says soon when all is well. */
const WHEN_UNWELL_MS = 4_000;
const PATIENCE_MS = 8_000;

/** The server's health, renewed while the page is visible. */
export function useHealth(): HealthView {
  const [view, setView] = useState<HealthView>({ kind: 'checking' });

  useEffect(() => {
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;

    const ask = async () => {
      clearTimeout(timer);
      let next: HealthView;
      try {
        const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(PATIENCE_MS)]);
        next = { kind: 'known', health: await getHealth(signal) };
      } catch {
        next = { kind: 'unreachable' };
      }
      if (gone.signal.aborted) return;
      setView(next);
      const well = next.kind === 'known' && next.health.status === 'ok';
      timer = setTimeout(() => void look(), well ? EVERY_MS : WHEN_UNWELL_MS);
    };
    const look = async () => {
      if (document.visibilityState === 'visible') await ask();
    };

    void ask();
    document.addEventListener('visibilitychange', look);
    return () => {
      gone.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', look);
    };
  }, []);

  return view;
}
