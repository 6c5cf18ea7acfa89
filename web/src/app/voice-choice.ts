/** The voice that the user has chosen to talk with: remembered on this device. `null`: the server's default. */
import { useSyncExternalStore } from 'react';

const STORE = 'avatar.voice';
const watchers = new Set<() => void>();
let chosen: string | null = recall();

function recall(): string | null {
  try {
    return localStorage.getItem(STORE);
  } catch {
    return null;
  }
}

/** As `session.audio.output.voice` takes it. */
export const chosenVoice = (): string | null => chosen;

export function chooseVoice(voice: string | null): void {
  chosen = voice;
  try {
    if (voice === null) localStorage.removeItem(STORE);
    else localStorage.setItem(STORE, voice);
  } catch {
    // Storage can be switched off; the choice then lasts as long as the page.
  }
  for (const watcher of watchers) watcher();
}

export function useChosenVoice(): string | null {
  return useSyncExternalStore((watcher) => {
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, chosenVoice);
}
