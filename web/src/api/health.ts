/** How the server is: `/health`, which is open to all, and `/api/status`, which says more to those who hold a key. */
import { ApiError, askJson, count, isRecord, number, text, words } from './http';

export interface EngineHealth {
  /** `vad`, `turn`, `stt`, `llm`, `tts`, or what a later server adds. */
  role: string;
  name: string;
  state: string;
  /** Of one that is loading, 0 to 100. */
  percent: number | null;
  /** What to do about one that is not ready. */
  hint: string | null;
  queue: { waiting: number; busy: number } | null;
}

export interface Health {
  status: 'ok' | 'degraded' | 'down' | 'loading';
  /** Of the way to taking calls, 0 to 100, while the server is loading. */
  percent: number | null;
  engines: EngineHealth[];
  calls: { active: number; limit: number } | null;
}

/** What is `null` an older server does not tell. */
export interface ServerStatus {
  version: string | null;
  uptimeS: number | null;
  engines: EngineHealth[];
  calls: { active: number; limit: number } | null;
  memoryBytes: number | null;
  hq: { pending: number; rendering: number; failed: number } | null;
  history: { conversations: number; turns: number; bytes: number } | null;
}

const share = (value: unknown): number | null => {
  const percent = number(value);
  return percent === null ? null : Math.min(100, Math.max(0, Math.round(percent)));
};

function readEngine(role: string, model: unknown): EngineHealth {
  const fields = isRecord(model) ? model : {};
  const queue = isRecord(fields['queue']) ? fields['queue'] : null;
  return {
    role,
    name: isRecord(model) ? text(model['name']) : text(model),
    state: text(fields['state']),
    percent: share(fields['percent']),
    hint: words(fields['hint']),
    queue: queue === null ? null : { waiting: count(queue['waiting']), busy: count(queue['busy']) },
  };
}

function readCalls(value: unknown): Health['calls'] {
  const calls = isRecord(value) ? value : {};
  const active = number(calls['active']);
  const limit = number(calls['limit']);
  return active === null || limit === null ? null : { active, limit };
}

export function readHealth(value: unknown): Health {
  if (!isRecord(value)) throw new ApiError('broken', 'the health report is not an object');
  const status = value['status'];
  const models = isRecord(value['models']) ? value['models'] : {};
  return {
    status: status === 'ok' || status === 'down' || status === 'loading' ? status : 'degraded',
    percent: status === 'loading' ? (share(value['percent']) ?? 0) : null,
    engines: Object.entries(models).map(([role, model]) => readEngine(role, model)),
    calls: readCalls(value['calls']),
  };
}

export function readStatus(value: unknown): ServerStatus {
  if (!isRecord(value)) throw new ApiError('broken', 'the status is not an object');
  const { hq, history, memory } = value;
  return {
    version: words(value['version']),
    uptimeS: number(value['uptime_s']),
    engines: (Array.isArray(value['engines']) ? value['engines'] : [])
      .filter(isRecord)
      .map((engine) => readEngine(text(engine['role']), engine)),
    calls: readCalls(value['calls']),
    memoryBytes: isRecord(memory) ? number(memory['rss_bytes']) : null,
    hq: isRecord(hq) ? { pending: count(hq['pending']), rendering: count(hq['rendering']), failed: count(hq['failed']) } : null,
    history: isRecord(history)
      ? { conversations: count(history['conversations']), turns: count(history['turns']), bytes: count(history['bytes']) }
      : null,
  };
}

/** Health; a server that is down says so with 503 and the same body. */
export async function getHealth(signal?: AbortSignal): Promise<Health> {
  return readHealth((await askJson('/health', { signal, alsoTake: 503 })).value);
}

/** All that the server tells about itself; of a server that knows no `/api/status`, what its health says. */
export async function getStatus(signal?: AbortSignal): Promise<ServerStatus> {
  try {
    return readStatus((await askJson('/api/status', { signal })).value);
  } catch (error) {
    if (!(error instanceof ApiError) || error.kind !== 'not-found') throw error;
    const { engines, calls } = await getHealth(signal);
    return { version: null, uptimeS: null, engines, calls, memoryBytes: null, hq: null, history: null };
  }
}
