import { useEffect, useState } from 'react';
import { getHealth, type Health } from '../api/health';

export type HealthView = { kind: 'checking' } | { kind: 'known'; health: Health } | { kind: 'unreachable' };

const EVERY_MS = 15_000;
/** While something is wrong the page looks more often, so that it says soon when all is well. */
const WHEN_UNWELL_MS = 4_000;
/** While the server loads its models, so that progress is seen to move. */
const WHEN_LOADING_MS = 1_000;
const PATIENCE_MS = 8_000;

/** How long until the page looks again, in ms. */
export function patience(view: HealthView): number {
  if (view.kind !== 'known') return WHEN_UNWELL_MS;
  return { ok: EVERY_MS, loading: WHEN_LOADING_MS, degraded: WHEN_UNWELL_MS, down: WHEN_UNWELL_MS }[view.health.status];
}

/** The server's health, renewed while the page is visible. One poll serves the page: others read it from the context. */
export function useHealthPolling(): HealthView {
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
      timer = setTimeout(() => void look(), patience(next));
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
