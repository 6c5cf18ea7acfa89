/**
 * The server's REST doors: history and health. What comes back is outside data, so it is checked here once; the rest of the
 * page can trust the types.
 */
import { parseStages, type Stages } from '../realtime/events';

export interface ConversationSummary {
  id: string;
  turns: number;
  createdAt: Date;
  /** The first words that were said; empty if the server gives none. */
  preview: string;
}

export interface Side {
  text: string;
  /** Where its recording is; `null` if there is none. */
  audio: string | null;
  durationMs: number | null;
}

export interface RecordedTurn {
  id: string;
  createdAt: Date | null;
  user: Side;
  assistant: Side & { interrupted: boolean };
  timings: Stages | null;
  voice: string | null;
}

export interface Conversation {
  id: string;
  createdAt: Date;
  turns: RecordedTurn[];
}

export interface EngineHealth {
  /** `vad`, `turn`, `stt`, `llm`, `tts`, or what a later server adds. */
  role: string;
  name: string;
  state: string;
  /** Of one that is loading, 0 to 100. */
  percent: number | null;
}

export interface Health {
  status: 'ok' | 'degraded' | 'down' | 'loading';
  /** Of the way to taking calls, 0 to 100, while the server is loading. */
  percent: number | null;
  engines: EngineHealth[];
  calls: { active: number; limit: number } | null;
}

/** Why the server gave no answer that can be shown. */
export class ApiError extends Error {
  constructor(
    readonly kind: 'unreachable' | 'not-found' | 'broken',
    message: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

type Fields = Record<string, unknown>;
const isRecord = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);
const date = (value: unknown): Date | null => {
  const at = new Date(typeof value === 'string' || typeof value === 'number' ? value : Number.NaN);
  return Number.isNaN(at.getTime()) ? null : at;
};

/** An audio address, if it is one of this server's: a stored conversation must not make the page call elsewhere. */
function ownAddress(value: unknown): string | null {
  return typeof value === 'string' && /^\/(?![/\\])/.test(value) ? value : null;
}

/** A list of conversations; an entry without id or time is left out. */
export function readConversations(value: unknown): ConversationSummary[] {
  if (!Array.isArray(value)) throw new ApiError('broken', 'the list of conversations is not a list');
  return value.flatMap((entry: unknown) => {
    const createdAt = isRecord(entry) ? date(entry['created_at']) : null;
    if (!isRecord(entry) || typeof entry['id'] !== 'string' || createdAt === null) return [];
    return [{ id: entry['id'], turns: number(entry['turns']) ?? 0, createdAt, preview: text(entry['preview']).trim() }];
  });
}

function readSide(value: unknown): Side {
  const side = isRecord(value) ? value : {};
  return { text: text(side['text']).trim(), audio: ownAddress(side['audio']), durationMs: number(side['duration_ms']) };
}

export function readConversation(value: unknown): Conversation {
  const createdAt = isRecord(value) ? date(value['created_at']) : null;
  if (!isRecord(value) || typeof value['id'] !== 'string' || createdAt === null) {
    throw new ApiError('broken', 'the conversation has no id or no time');
  }
  const turns = Array.isArray(value['turns']) ? value['turns'].filter(isRecord) : [];
  return {
    id: value['id'],
    createdAt,
    turns: turns.map((turn, index) => ({
      id: typeof turn['id'] === 'string' || typeof turn['id'] === 'number' ? String(turn['id']) : String(index),
      createdAt: date(turn['created_at']),
      user: readSide(turn['user']),
      assistant: {
        ...readSide(turn['assistant']),
        interrupted: isRecord(turn['assistant']) && turn['assistant']['interrupted'] === true,
      },
      timings: parseStages(turn['timings']),
      voice: text(turn['voice']) || null,
    })),
  };
}

const share = (value: unknown): number | null => {
  const percent = number(value);
  return percent === null ? null : Math.min(100, Math.max(0, Math.round(percent)));
};

export function readHealth(value: unknown): Health {
  if (!isRecord(value)) throw new ApiError('broken', 'the health report is not an object');
  const status = value['status'];
  const models = isRecord(value['models']) ? value['models'] : {};
  const calls = isRecord(value['calls']) ? value['calls'] : {};
  const active = number(calls['active']);
  const limit = number(calls['limit']);
  return {
    status: status === 'ok' || status === 'down' || status === 'loading' ? status : 'degraded',
    percent: status === 'loading' ? (share(value['percent']) ?? 0) : null,
    engines: Object.entries(models).map(([role, model]) => ({
      role,
      name: isRecord(model) ? text(model['name']) : text(model),
      state: isRecord(model) ? text(model['state']) : '',
      percent: isRecord(model) ? share(model['percent']) : null,
    })),
    calls: active === null || limit === null ? null : { active, limit },
  };
}

async function get(path: string, signal: AbortSignal | undefined, alsoAccept?: number): Promise<unknown> {
  let answer: Response;
  try {
    answer = await fetch(path, { headers: { Accept: 'application/json' }, signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError('unreachable', `${path}: no answer`);
  }
  if (!answer.ok && answer.status !== alsoAccept) {
    if (answer.status === 404) throw new ApiError('not-found', `${path}: not found`);
    throw new ApiError(answer.status === 502 || answer.status === 504 ? 'unreachable' : 'broken', `${path}: ${answer.status}`);
  }
  try {
    return await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(answer.ok ? 'broken' : 'unreachable', `${path}: the answer is not JSON`);
  }
}

/** How many conversations a page of the list has. A shorter page is the last. */
export const PAGE_SIZE = 20;

/** The newest conversations, or those before the conversation `before`. */
export async function listConversations(before: string | null, signal?: AbortSignal): Promise<ConversationSummary[]> {
  const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
  if (before !== null) query.set('before', before);
  return readConversations(await get(`/api/conversations?${query}`, signal));
}

export async function getConversation(id: string, signal?: AbortSignal): Promise<Conversation> {
  return readConversation(await get(`/api/conversations/${encodeURIComponent(id)}`, signal));
}

/** Health; a server that is down says so with 503 and the same body. */
export async function getHealth(signal?: AbortSignal): Promise<Health> {
  return readHealth(await get('/health', signal, 503));
}
