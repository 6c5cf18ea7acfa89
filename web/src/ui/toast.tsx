import { X } from 'lucide-react';
import { useEffect, useState, useSyncExternalStore } from 'react';
import { useTranslation } from 'react-i18next';
import styles from './toast.module.css';

/** A short word on what was done, with a way back where there is one. At most one is shown: a newer takes its place. */
export interface Toast {
  text: string;
  tone?: 'plain' | 'bad';
  action?: { label: string; run: () => void };
}

const SHOWN_MS = 8_000;

let shown: (Toast & { id: number }) | null = null;
let next = 0;
const watchers = new Set<() => void>();

export function toast(word: Toast | null): void {
  next += 1;
  shown = word === null ? null : { ...word, id: next };
  for (const watcher of watchers) watcher();
}

/** Where they appear; stands once in the page. */
export function Toaster() {
  const { t } = useTranslation();
  const word = useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => shown,
  );
  const [held, setHeld] = useState(false);

  useEffect(() => {
    if (word === null || held) return;
    const timer = setTimeout(() => toast(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [word, held]);

  return (
    <div className={styles.place} role="status" aria-live="polite">
      {word !== null && (
        <div
          key={word.id}
          className={styles.toast}
          data-tone={word.tone ?? 'plain'}
          data-testid="toast"
          onPointerEnter={() => setHeld(true)}
          onPointerLeave={() => setHeld(false)}
          onFocus={() => setHeld(true)}
          onBlur={() => setHeld(false)}
        >
          <p>{word.text}</p>
          {word.action !== undefined && (
            <button
              type="button"
              className={styles.action}
              data-testid="toast-action"
              onClick={() => {
                word.action?.run();
                setHeld(false);
                toast(null);
              }}
            >
              {word.action.label}
            </button>
          )}
          <button
            type="button"
            className={styles.close}
            aria-label={t('ui.close')}
            onClick={() => {
              setHeld(false);
              toast(null);
            }}
          >
            <X size={16} aria-hidden="true" />
          </button>
        </div>
      )}
    </div>
  );
}
