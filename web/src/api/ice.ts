/** The STUN and TURN servers that this server's owner has set: for callers whose network lets nothing through directly. */
import { answerFailure, CallFailure } from '../realtime/failure';
import { withKey } from './key';

const ADDRESS = '/api/ice-servers';

/** `[{urls, username, credential}]` as the browser takes them; what is no such server is left out. */
export function readIceServers(value: unknown): RTCIceServer[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown) => {
    const { urls, username, credential } = (entry ?? {}) as Record<string, unknown>;
    if (!Array.isArray(urls)) return [];
    const own = urls.filter((url): url is string => typeof url === 'string' && /^(stun|turn)s?:/.test(url));
    if (own.length === 0) return [];
    if (typeof username !== 'string' || typeof credential !== 'string') return [{ urls: own }];
    return [{ urls: own, username, credential }];
  });
}

/**
 * Asked before each call, since passwords of TURN servers change. Rejects with a [`CallFailure`] of kind `key` where the server
 * wants another key; a server that knows of no such list has none.
 */
export async function iceServers(signal: AbortSignal): Promise<RTCIceServer[]> {
  let answer: Response;
  try {
    answer = await fetch(ADDRESS, { headers: withKey({ Accept: 'application/json' }), signal });
  } catch {
    signal.throwIfAborted();
    throw new CallFailure({ kind: 'unreachable' });
  }
  if (answer.status === 401) {
    throw new CallFailure(answerFailure(answer.status, null, await answer.text(), Date.now()));
  }
  return answer.ok ? readIceServers(await answer.json().catch(() => null)) : [];
}
