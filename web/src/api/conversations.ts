/** History: the list and its search, one conversation, and what can be done with it. */
import { parseStages, type Stages } from '../realtime/events';
import { ApiError, ask, askJson, count, date, isRecord, number, ownAddress, text, words } from './http';

/** A stretch of text that a search found; `hit` is what was looked for. */
export interface Piece {
  text: string;
  hit: boolean;
}

export interface ConversationSummary {
  id: string;
  title: string | null;
  turns: number;
  createdAt: Date;
  /** The first words that were said; empty if the server gives none. */
  preview: string;
  durationMs: number | null;
  voice: string | null;
  hq: { pending: number; ready: number; failed: number };
  /** Where a search found its words. */
  match: { side: 'user' | 'assistant'; pieces: Piece[] } | null;
}

export interface ConversationPage {
  items: ConversationSummary[];
  /** Whether there are older ones. */
  more: boolean;
}

export type HqState = 'none' | 'pending' | 'rendering' | 'ready' | 'failed';

/** The better recording of a reply, made after the call. */
export interface Hq {
  state: HqState;
  reason: string | null;
  voice: string | null;
  audio: string | null;
  durationMs: number | null;
}

export interface Side {
  /** Its name in the events of a call; `null` where the server does not tell. */
  item: string | null;
  text: string;
  /** What stood there before the text was edited; `null` if it was not. */
  original: string | null;
  /** Where its recording is; `null` if there is none. */
  audio: string | null;
  durationMs: number | null;
}

export interface RecordedTurn {
  id: string;
  createdAt: Date | null;
  user: Side;
  assistant: Side & { interrupted: boolean; failure: string | null; hq: Hq | null };
  timings: Stages | null;
  voice: string | null;
  model: string | null;
}

export interface Conversation {
  id: string;
  title: string | null;
  createdAt: Date;
  durationMs: number | null;
  turns: RecordedTurn[];
}

function readPieces(value: unknown): Piece[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isRecord).flatMap((piece) => {
    const said = text(piece['text']);
    return said === '' ? [] : [{ text: said, hit: piece['hit'] === true }];
  });
}

function readSummary(entry: unknown): ConversationSummary[] {
  const createdAt = isRecord(entry) ? date(entry['created_at']) : null;
  if (!isRecord(entry) || typeof entry['id'] !== 'string' || createdAt === null) return [];
  const hq = isRecord(entry['hq']) ? entry['hq'] : {};
  const match = isRecord(entry['match']) ? entry['match'] : null;
  const pieces = match === null ? [] : readPieces(match['pieces']);
  return [
    {
      id: entry['id'],
      title: words(entry['title']),
      turns: count(entry['turns']),
      createdAt,
      preview: text(entry['preview']).trim(),
      durationMs: number(entry['duration_ms']),
      voice: words(entry['voice']),
      hq: { pending: count(hq['pending']), ready: count(hq['ready']), failed: count(hq['failed']) },
      match: pieces.length === 0 ? null : { side: match?.['side'] === 'assistant' ? 'assistant' : 'user', pieces },
    },
  ];
}

/** A list of conversations; an entry without id or time is left out. */
export function readConversations(value: unknown): ConversationSummary[] {
  if (!Array.isArray(value)) throw new ApiError('broken', 'the list of conversations is not a list');
  return value.flatMap(readSummary);
}

const states: readonly HqState[] = ['none', 'pending', 'rendering', 'ready', 'failed'];

export function readHq(value: unknown): Hq | null {
  if (!isRecord(value)) return null;
  const state = states.find((known) => known === value['state']);
  if (state === undefined) return null;
  return {
    state,
    reason: words(value['reason']),
    voice: words(value['voice']),
    audio: ownAddress(value['audio']),
    durationMs: number(value['duration_ms']),
  };
}

function readSide(value: unknown): Side {
  const side = isRecord(value) ? value : {};
  return {
    item: words(side['item']),
    text: text(side['text']).trim(),
    original: typeof side['original'] === 'string' ? side['original'].trim() : null,
    audio: ownAddress(side['audio']),
    durationMs: number(side['duration_ms']),
  };
}

export function readTurn(turn: unknown, index = 0): RecordedTurn {
  if (!isRecord(turn)) throw new ApiError('broken', 'the turn is not an object');
  const assistant = isRecord(turn['assistant']) ? turn['assistant'] : {};
  return {
    id: typeof turn['id'] === 'string' || typeof turn['id'] === 'number' ? String(turn['id']) : String(index),
    createdAt: date(turn['created_at']),
    user: readSide(turn['user']),
    assistant: {
      ...readSide(assistant),
      interrupted: assistant['interrupted'] === true,
      failure: words(assistant['failure']),
      hq: readHq(assistant['hq']),
    },
    timings: parseStages(turn['timings']),
    voice: words(turn['voice']),
    model: words(turn['model']),
  };
}

export function readConversation(value: unknown): Conversation {
  const createdAt = isRecord(value) ? date(value['created_at']) : null;
  if (!isRecord(value) || typeof value['id'] !== 'string' || createdAt === null) {
    throw new ApiError('broken', 'the conversation has no id or no time');
  }
  const turns = Array.isArray(value['turns']) ? value['turns'].filter(isRecord) : [];
  return {
    id: value['id'],
    title: words(value['title']),
    createdAt,
    durationMs: number(value['duration_ms']),
    turns: turns.map(readTurn),
  };
}

/** How many conversations a page of the list has. Without a `Link` header a shorter page is the last. */
export const PAGE_SIZE = 20;

/** The newest conversations in which `q` stands (all, if it is empty), or those before the conversation `before`. */
export async function listConversations(before: string | null, q = '', signal?: AbortSignal): Promise<ConversationPage> {
  const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
  if (before !== null) query.set('before', before);
  if (q !== '') query.set('q', q);
  const { value, headers } = await askJson(`/api/conversations?${query}`, { signal });
  const items = readConversations(value);
  const link = headers.get('Link');
  const more = link === null ? items.length >= PAGE_SIZE : /rel="?next"?/.test(link);
  return { items, more: more && items.length > 0 };
}

const of = (id: string) => `/api/conversations/${encodeURIComponent(id)}`;
const turnOf = (id: string, turn: string) => `${of(id)}/turns/${encodeURIComponent(turn)}`;

export async function getConversation(id: string, signal?: AbortSignal): Promise<Conversation> {
  return readConversation((await askJson(of(id), { signal })).value);
}

/** Gives the conversation a title; `null` lets the model name it again. Resolves to the title that holds. */
export async function renameConversation(id: string, title: string | null): Promise<string | null> {
  const { value } = await askJson(of(id), { method: 'PATCH', body: { title } });
  return isRecord(value) ? words(value['title']) : title;
}

export async function deleteConversation(id: string): Promise<void> {
  await ask(of(id), { method: 'DELETE' });
}

/** Replaces what one side said; `null` takes the edit back. */
export async function editTurn(id: string, turn: string, side: 'user' | 'assistant', said: string | null): Promise<RecordedTurn> {
  return readTurn((await askJson(turnOf(id, turn), { method: 'PATCH', body: { [`${side}_text`]: said } })).value);
}

/** Asks for the better recording of a turn's reply. */
export async function renderTurn(id: string, turn: string): Promise<void> {
  await ask(`${turnOf(id, turn)}/render`, { method: 'POST' });
}

export const exportOf = (id: string) => ({ json: `${of(id)}/export`, audio: `${of(id)}/export/audio` });
