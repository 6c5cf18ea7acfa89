/**
 * Every way a call can fail, told apart so that the page can say in plain words what to do. Pure: reads error objects and
 * HTTP answers, shows nothing.
 */

export type Failure =
  /** Neither https nor localhost: the browser hides the microphone. */
  | { kind: 'insecure' }
  /** The browser has no WebRTC. */
  | { kind: 'unsupported' }
  | { kind: 'no-microphone' }
  /** Another program holds the microphone, or the device failed. */
  | { kind: 'microphone-busy' }
  | { kind: 'permission' }
  /** The microphone went away during the call. */
  | { kind: 'microphone-lost' }
  /** All places are taken; `retryAfter` in seconds. */
  | { kind: 'full'; retryAfter: number; detail: string | null }
  /** The server is stopping; `retryAfter` in seconds. */
  | { kind: 'draining'; retryAfter: number; detail: string | null }
  /** The server is loading its models; `retryAfter` in seconds. */
  | { kind: 'loading'; retryAfter: number; detail: string | null }
  /** The server wants an API key; `wrong` if it has refused one. */
  | { kind: 'key'; wrong: boolean }
  /** The server lacks an engine; `detail` is its own hint. */
  | { kind: 'engine'; detail: string | null }
  | { kind: 'unreachable' }
  /** The server answered, but no audio path to it opened in time. */
  | { kind: 'no-path' }
  /** The call was up and broke off. */
  | { kind: 'dropped' }
  /** The talk that was to go on is no longer there to be gone on with. */
  | { kind: 'expired' }
  /** Any other answer that is not a call. */
  | { kind: 'rejected'; status: number; detail: string | null };

export type FailureKind = Failure['kind'];

/** A failure on its way to the page. */
export class CallFailure extends Error {
  constructor(readonly failure: Failure) {
    super(failure.kind);
    this.name = 'CallFailure';
  }
}

/** When a server that is full does not say when to come back. */
const DEFAULT_RETRY_SECONDS = 10;
/** The longest countdown the page shows; a server that asks for more is asked again after this. */
const LONGEST_RETRY_SECONDS = 600;

/** Why `getUserMedia` refused, by the names in the Media Capture specification. */
export function microphoneFailure(error: unknown): Failure {
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  switch (name) {
    case 'NotFoundError':
    case 'DevicesNotFoundError':
    case 'OverconstrainedError':
      return { kind: 'no-microphone' };
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return { kind: 'microphone-busy' };
    case 'NotAllowedError':
    case 'PermissionDeniedError':
    case 'SecurityError':
      return { kind: 'permission' };
    default:
      return { kind: 'no-microphone' };
  }
}

/** `Retry-After` in seconds: a number, or an HTTP date measured from `now` (ms since the epoch). */
export function retryAfterSeconds(header: string | null, now: number): number | null {
  if (header === null || header.trim() === '') return null;
  const seconds = Number(header);
  const wait = Number.isFinite(seconds) ? seconds : (Date.parse(header) - now) / 1000;
  if (!Number.isFinite(wait)) return null;
  return Math.min(Math.max(Math.ceil(wait), 1), LONGEST_RETRY_SECONDS);
}

/** What an answer other than 201 means. `body` is its text. */
export function answerFailure(status: number, retryAfter: string | null, body: string, now: number): Failure {
  const error = readError(body);
  const detail = error.message;
  const wait = retryAfterSeconds(retryAfter, now);
  if (status === 401) return { kind: 'key', wrong: error.code === 'invalid_api_key' };
  if (error.code === 'resume_token_invalid') return { kind: 'expired' };
  if (status === 502 || status === 504) return { kind: 'unreachable' };
  if (status === 503 || status === 429) {
    if (/drain|shut/.test(error.code)) return { kind: 'draining', retryAfter: wait ?? DEFAULT_RETRY_SECONDS, detail };
    if (/loading/.test(error.code)) return { kind: 'loading', retryAfter: wait ?? DEFAULT_RETRY_SECONDS, detail };
    const full = wait !== null || status === 429 || /full|busy|capacity|too_many|rate/.test(error.code);
    if (/engine|model|missing|unavailable/.test(error.code) || !full) return { kind: 'engine', detail };
    return { kind: 'full', retryAfter: wait ?? DEFAULT_RETRY_SECONDS, detail };
  }
  return { kind: 'rejected', status, detail };
}

/** `{"error":{"code","message"}}`; empty where the body is something else. */
export function readError(body: string): { code: string; message: string | null } {
  try {
    const value: unknown = JSON.parse(body);
    const error = (value as { error?: { code?: unknown; message?: unknown } } | null)?.error;
    return {
      code: typeof error?.code === 'string' ? error.code : '',
      message: typeof error?.message === 'string' && error.message !== '' ? error.message : null,
    };
  } catch {
    return { code: '', message: null };
  }
}

/** Why a call did not come about, whatever was thrown. */
export const failureOf = (error: unknown): Failure =>
  error instanceof CallFailure ? error.failure : { kind: 'rejected', status: 0, detail: String(error) };
