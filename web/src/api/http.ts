/**
 * How the page asks the server: with the key, and with every way an answer can be missing or bad told apart. What comes back is
 * outside data; the readers beside this file check it once, so that the rest of the page can trust the types.
 */
import { readError, retryAfterSeconds } from '../realtime/failure';
import { withKey } from './key';

export type ApiErrorKind =
  /** No answer, or a proxy's word that there is none. */
  | 'unreachable'
  | 'not-found'
  /** A key is missing or was refused. */
  | 'key'
  /** Too many requests, or a quota is used up. */
  | 'limited'
  /** The server understood and said no: `code` and `message` say why. */
  | 'refused'
  | 'broken';

/** Why the server gave no answer that can be shown. */
export class ApiError extends Error {
  constructor(
    readonly kind: ApiErrorKind,
    message: string,
    /** The server's own code, such as `too_short`; empty if it gave none. */
    readonly code = '',
    /** Of `limited`: in how many seconds to ask again. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export type Fields = Record<string, unknown>;
export const isRecord = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
export const text = (value: unknown): string => (typeof value === 'string' ? value : '');
export const words = (value: unknown): string | null => (typeof value === 'string' && value.trim() !== '' ? value.trim() : null);
export const number = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);
export const count = (value: unknown): number => Math.max(0, Math.round(number(value) ?? 0));
export const date = (value: unknown): Date | null => {
  const at = new Date(typeof value === 'string' || typeof value === 'number' ? value : Number.NaN);
  return Number.isNaN(at.getTime()) ? null : at;
};

/** An audio address, if it is one of this server's: a stored conversation must not make the page call elsewhere. */
export function ownAddress(value: unknown): string | null {
  return typeof value === 'string' && /^\/(?![/\\])/.test(value) ? value : null;
}

/** What an answer that is no success means. `body` is its text. */
export function answerError(path: string, status: number, retryAfter: string | null, body: string): ApiError {
  const { code, message } = readError(body);
  const say = message ?? `${path}: ${status}`;
  if (status === 401) return new ApiError('key', say, code);
  if (status === 404) return new ApiError('not-found', say, code);
  if (status === 429) return new ApiError('limited', say, code, retryAfterSeconds(retryAfter, Date.now()));
  if (status === 413 && code === '') return new ApiError('refused', say, 'too_large');
  if (status >= 400 && status < 500) return new ApiError('refused', say, code);
  if (status === 502 || status === 504) return new ApiError('unreachable', say, code);
  return new ApiError('broken', say, code);
}

interface Options {
  method?: 'GET' | 'PATCH' | 'POST' | 'DELETE';
  body?: unknown;
  signal?: AbortSignal | undefined;
  accept?: string;
  /** A status beside success whose body is an answer all the same. */
  alsoTake?: number;
}

/** The server's answer; rejects with an [`ApiError`], or with the signal's reason when nobody waits any more. */
export async function ask(path: string, options: Options = {}): Promise<Response> {
  const { method = 'GET', body, signal, accept = 'application/json', alsoTake } = options;
  const headers = withKey({ Accept: accept, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) });
  let answer: Response;
  try {
    const content = body === undefined ? null : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: content, signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError('unreachable', `${path}: no answer`);
  }
  if (answer.ok || answer.status === alsoTake) return answer;
  const said = await answer.text().catch(() => '');
  throw answerError(path, answer.status, answer.headers.get('Retry-After'), said);
}

/** The JSON of the server's answer, and its headers. */
export async function askJson(path: string, options: Options = {}): Promise<{ value: unknown; headers: Headers }> {
  const answer = await ask(path, options);
  try {
    return { value: await answer.json(), headers: answer.headers };
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(answer.ok ? 'broken' : 'unreachable', `${path}: the answer is not JSON`);
  }
}

/** A recording that only holders of the key may hear: an audio element sends no key, so it is fetched for it. Revoke the address after use. */
export async function fetchRecording(path: string): Promise<string> {
  const answer = await ask(path, { accept: 'audio/*' });
  return URL.createObjectURL(await answer.blob());
}

/** The file name that the server suggests. */
export function suggestedName(disposition: string | null): string | null {
  const name = /filename="?([^";]+)"?/i.exec(disposition ?? '')?.[1]?.trim();
  return name === undefined || name === '' || /[/\\]/.test(name) ? null : name;
}

/** Saves what is at `path` on the user's machine, with the key where there is one. */
export async function download(path: string, fallbackName: string, signal?: AbortSignal): Promise<void> {
  const answer = await ask(path, { accept: '*/*', signal });
  const address = URL.createObjectURL(await answer.blob());
  const link = document.createElement('a');
  link.href = address;
  link.download = suggestedName(answer.headers.get('Content-Disposition')) ?? fallbackName;
  link.click();
  // The browser has taken the blob over by the time the click returns; some read it a moment later.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
