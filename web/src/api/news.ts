/**
 * What changes on the server while the page is open: `/api/events`, read as a stream, opened anew whenever it breaks.
 *
 * A server that knows no such stream is asked once and left alone. A stream that went silent for longer than three of the
 * server's keep-alives counts as broken: a network that changed leaves no other sign.
 */
import { wait } from './backoff';
import { ApiError, ask, isRecord, text, words } from './http';
import type { HqState } from './conversations';
import { EventReader, type StreamEvent } from './sse';

export type News =
  | { kind: 'turn'; conversation: string }
  | { kind: 'render'; conversation: string; turn: string; state: HqState; reason: string | null }
  | { kind: 'title'; conversation: string; title: string | null }
  | { kind: 'deleted'; conversation: string }
  | { kind: 'voice' }
  /** Some news were lost: all that is shown is to be read again. */
  | { kind: 'lagged' }
  /** The stream had broken and is open again: the same, and the server is there. */
  | { kind: 'back' };

const SILENCE_MS = 45_000;
const BACKOFF = { firstMs: 1_000, limitMs: 30_000 };

/** `null` for what the page does not know. */
export function readNews({ event, data }: StreamEvent): News | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  if (!isRecord(value)) return null;
  const conversation = text(value['conversation']);
  const turn = value['turn'];
  switch (event) {
    case 'turn':
      return conversation === '' ? null : { kind: 'turn', conversation };
    case 'render':
      if (conversation === '' || (typeof turn !== 'string' && typeof turn !== 'number')) return null;
      return { kind: 'render', conversation, turn: String(turn), state: text(value['state']) as HqState, reason: words(value['reason']) };
    case 'title':
      return conversation === '' ? null : { kind: 'title', conversation, title: words(value['title']) };
    case 'conversation': {
      const gone = text(value['id']);
      return gone === '' || value['state'] !== 'deleted' ? null : { kind: 'deleted', conversation: gone };
    }
    case 'voice':
    case 'lagged':
      return { kind: event };
    default:
      return null;
  }
}

/** Listens until `signal` says to stop. */
export async function follow(onNews: (news: News) => void, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted; ) {
    try {
      await read(onNews, signal, () => {
        if (failures > 0) onNews({ kind: 'back' });
        failures = 0;
      });
      failures = Math.max(failures, 1);
    } catch (error) {
      if (signal.aborted) return;
      // An older server, or a key that is asked for elsewhere on the page: `rekeyed` starts anew.
      if (error instanceof ApiError && (error.kind === 'not-found' || error.kind === 'key' || error.kind === 'refused')) return;
      failures += 1;
    }
    await pause(wait(BACKOFF, failures, Math.random()), signal);
  }
}

async function read(onNews: (news: News) => void, signal: AbortSignal, opened: () => void): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const answer = await ask('/api/events', { accept: 'text/event-stream', signal: AbortSignal.any([signal, silence.signal]) });
    // What answers with something else is a server that sends its page for any address.
    if (answer.body === null || !(answer.headers.get('Content-Type') ?? '').startsWith('text/event-stream')) {
      throw new ApiError('not-found', 'there is no stream of events');
    }
    opened();
    const events = new EventReader();
    const decoder = new TextDecoder();
    const reader = answer.body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      for (const event of events.take(decoder.decode(value, { stream: true }))) {
        const news = readNews(event);
        if (news !== null) onNews(news);
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves after `ms`, when the network comes back, or when nobody waits any more. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      window.removeEventListener('online', end);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    window.addEventListener('online', end);
    signal.addEventListener('abort', end);
  });
}
