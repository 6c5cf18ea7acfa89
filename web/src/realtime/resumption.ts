/**
 * What it takes to go on with a talk that broke off: kept for this tab, so that a page that is loaded anew can offer it.
 *
 * The token is worth the talk itself; it lives no longer than the tab and is forgotten when the user hangs up.
 */
const STORE = 'avatar.talk';
/** Beyond this nobody would call it going on. */
const LIMIT_MS = 12 * 3_600_000;

export interface Resumption {
  conversation: string;
  /** `null`: the server gave none; the conversation can be gone on with, an unfinished reply can't. */
  token: string | null;
  /** The server's id of the call, by which it can be ended; `null`: not known. */
  call: string | null;
  /** When it was kept, in ms since the epoch. */
  at: number;
}

/** Reads what was kept; `null` for what is none, or is too old at `now`. */
export function readResumption(kept: string | null, now: number): Resumption | null {
  if (kept === null) return null;
  try {
    const { conversation, token, call, at } = JSON.parse(kept) as Record<string, unknown>;
    if (typeof conversation !== 'string' || conversation === '' || typeof at !== 'number') return null;
    if (!(Math.abs(now - at) < LIMIT_MS)) return null;
    return { conversation, token: textOr(token), call: textOr(call), at };
  } catch {
    return null;
  }
}

const textOr = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);

export function keptTalk(): Resumption | null {
  try {
    return readResumption(sessionStorage.getItem(STORE), Date.now());
  } catch {
    return null;
  }
}

export function keepTalk(talk: Resumption | null): void {
  try {
    if (talk === null) sessionStorage.removeItem(STORE);
    else sessionStorage.setItem(STORE, JSON.stringify(talk));
  } catch {
    // Storage can be switched off; a page that is loaded anew then starts anew.
  }
}
