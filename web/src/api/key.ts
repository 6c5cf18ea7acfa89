/**
 * The API key of a server that asks for one.
 *
 * Kept for as long as the tab is open and no longer, and only there: other tabs, other sites and a computer that is shared
 * later have no use of it. Sent to this server alone.
 */
const STORE = 'avatar.key';

/** Where storage is switched off, the page itself remembers. */
let remembered: string | null = null;

const watchers = new Set<() => void>();

/** Tells `watcher` when another key is used from now on; the result ends that. */
export function watchKey(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

export function apiKey(): string | null {
  try {
    return sessionStorage.getItem(STORE) ?? remembered;
  } catch {
    return remembered;
  }
}

/** Keeps `key` for this tab; an empty one, or `null`, forgets it. */
export function setApiKey(key: string | null): void {
  remembered = key === null || key.trim() === '' ? null : key.trim();
  try {
    if (remembered === null) sessionStorage.removeItem(STORE);
    else sessionStorage.setItem(STORE, remembered);
  } catch {
    // The page remembers.
  }
  for (const watcher of watchers) watcher();
}

/** `headers` with the key, if there is one. */
export function withKey(headers: Record<string, string> = {}): Record<string, string> {
  const key = apiKey();
  return key === null ? headers : { ...headers, Authorization: `Bearer ${key}` };
}
