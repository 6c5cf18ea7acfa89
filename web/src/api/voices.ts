/** Voices: the user's own, the built-in ones, and whether this server can speak with a cloned one. */
import { answerError, ApiError, ask, askJson, date, isRecord, number, text, words } from './http';
import { withKey } from './key';

export type VoiceState = 'ready' | 'computing' | 'waiting' | 'failed';

export interface Voice {
  id: string;
  name: string;
  /** A `profile` was made from the user's sample; a `preset` came with an engine. */
  kind: 'profile' | 'preset';
  engine: string | null;
  language: string | null;
  /** What goes into a call's session. */
  voice: string;
  state: VoiceState;
  reason: string | null;
  /** The server's own default. */
  isDefault: boolean;
  durationMs: number | null;
  createdAt: Date | null;
  transcript: string | null;
  bandwidthHz: number | null;
}

export interface Cloning {
  available: boolean;
  engine: string | null;
  /** How to get an engine that can. */
  hint: string | null;
  /** What to read aloud for a sample, by language. */
  reading: Record<string, string>;
}

const states: readonly VoiceState[] = ['ready', 'computing', 'waiting', 'failed'];

/** Voices; an entry without id is left out. */
export function readVoices(value: unknown): Voice[] {
  if (!Array.isArray(value)) throw new ApiError('broken', 'the list of voices is not a list');
  return value.filter(isRecord).flatMap((entry) => {
    const id = words(entry['id']);
    if (id === null) return [];
    // `duration` is in seconds, as in the first contract; clients of the newer one get ms beside it.
    const seconds = number(entry['duration']);
    return [
      {
        id,
        name: words(entry['name']) ?? id,
        kind: entry['kind'] === 'profile' ? ('profile' as const) : ('preset' as const),
        engine: words(entry['engine']),
        language: words(entry['language']),
        voice: words(entry['voice']) ?? id,
        state: states.find((known) => known === entry['state']) ?? 'ready',
        reason: words(entry['reason']),
        isDefault: entry['default'] === true,
        durationMs: number(entry['duration_ms']) ?? (seconds === null ? null : seconds * 1000),
        createdAt: date(entry['created_at']),
        transcript: words(entry['transcript']),
        bandwidthHz: number(entry['bandwidth_hz']),
      },
    ];
  });
}

export function readCloning(value: unknown): Cloning {
  const fields = isRecord(value) ? value : {};
  const reading = isRecord(fields['reading']) ? fields['reading'] : {};
  return {
    available: fields['available'] === true,
    engine: words(fields['engine']),
    hint: words(fields['hint']),
    reading: Object.fromEntries(Object.entries(reading).flatMap(([language, said]) => (words(said) === null ? [] : [[language, text(said).trim()]]))),
  };
}

export async function listVoices(signal?: AbortSignal): Promise<Voice[]> {
  return readVoices((await askJson('/api/voice-profiles', { signal })).value);
}

export async function getCloning(signal?: AbortSignal): Promise<Cloning> {
  return readCloning((await askJson('/api/voice-cloning', { signal })).value);
}

const of = (id: string) => `/api/voice-profile/${encodeURIComponent(id)}`;
export const sampleOf = (id: string) => `${of(id)}/audio`;

export async function renameVoice(id: string, name: string): Promise<void> {
  await ask(of(id), { method: 'PATCH', body: { name } });
}

export async function deleteVoice(id: string): Promise<void> {
  await ask(of(id), { method: 'DELETE' });
}

export interface Sample {
  name: string;
  audio: Blob;
  fileName: string;
  transcript: string;
  consent: boolean;
}

/** What the server said of a sample that it took. */
export interface Taken {
  id: string;
  warnings: string[];
}

/**
 * Sends a sample and tells how much of it has gone, 0 to 1. `fetch` can't tell that, so this is an older request. Rejects with
 * an [`ApiError`], whose `code` says what is wrong with the sample.
 */
export function uploadVoice(sample: Sample, progress: (share: number) => void, signal: AbortSignal): Promise<Taken> {
  const form = new FormData();
  form.set('name', sample.name);
  form.set('consent', String(sample.consent));
  if (sample.transcript.trim() !== '') form.set('transcript', sample.transcript.trim());
  // Last, so that the server knows the rest before the large part comes.
  form.set('audio', sample.audio, sample.fileName);
  const path = '/api/voice-profile';
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', path);
    for (const [name, value] of Object.entries(withKey({ Accept: 'application/json' }))) request.setRequestHeader(name, value);
    request.upload.addEventListener('progress', ({ lengthComputable, loaded, total }) => {
      if (lengthComputable && total > 0) progress(loaded / total);
    });
    request.addEventListener('load', () => {
      if (request.status < 200 || request.status >= 300) {
        reject(answerError(path, request.status, request.getResponseHeader('Retry-After'), request.responseText));
        return;
      }
      resolve(readTaken(request.responseText));
    });
    request.addEventListener('error', () => reject(new ApiError('unreachable', `${path}: no answer`)));
    request.addEventListener('abort', () => reject(signal.reason));
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(form);
  });
}

function readTaken(body: string): Taken {
  let value: unknown = null;
  try {
    value = JSON.parse(body);
  } catch {
    // The sample was taken; that its answer can't be read changes nothing.
  }
  const fields = isRecord(value) ? value : {};
  const warnings = Array.isArray(fields['warnings']) ? fields['warnings'] : [];
  return {
    id: text(fields['profile_id']),
    warnings: warnings.flatMap((warning) => words(isRecord(warning) ? warning['message'] : warning) ?? []),
  };
}
