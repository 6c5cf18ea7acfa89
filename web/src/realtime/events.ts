/**
 * The server's events, as they come over the data channel: OpenAI Realtime's names, and Avatar's own `avatar.*`.
 *
 * Only the fields that the page reads are typed, and all of them are optional where a server may leave them out: an event is
 * outside data. `parseEvent` refuses what is not an object with a `type`; the reducer ignores types it does not know.
 */

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

export interface WireContent {
  type?: string;
  transcript?: string | null;
  text?: string | null;
}

export interface WireItem {
  id: string;
  type?: string;
  role?: string;
  status?: ItemStatus;
  content?: WireContent[];
}

export interface WireResponse {
  id: string;
  status?: 'in_progress' | 'completed' | 'cancelled' | 'incomplete' | 'failed';
  status_details?: { reason?: string; error?: { message?: string } } | null;
  output?: WireItem[];
}

/** When each stage of a turn was reached, in ms after the end of the caller's voice. `null`: not reached. */
export interface Stages {
  turn_commit_ms: number | null;
  text_final_ms: number | null;
  first_token_ms: number | null;
  first_sentence_ms: number | null;
  first_audio_ms: number | null;
  /** Voice-to-voice: the first packet with audible reply was sent. */
  first_packet_ms: number | null;
}

export type ServerEvent =
  | { type: 'session.created' | 'session.updated'; session?: unknown }
  | { type: 'input_audio_buffer.speech_started' | 'input_audio_buffer.speech_stopped'; item_id: string }
  | { type: 'input_audio_buffer.committed'; item_id: string; previous_item_id?: string | null }
  | { type: 'input_audio_buffer.cleared' }
  | {
      type: 'conversation.item.added' | 'conversation.item.created' | 'conversation.item.done' | 'conversation.item.retrieved';
      item: WireItem;
      previous_item_id?: string | null;
    }
  | { type: 'conversation.item.truncated'; item_id: string; audio_end_ms?: number }
  | { type: 'conversation.item.deleted'; item_id: string }
  | { type: 'conversation.item.input_audio_transcription.delta'; item_id: string; delta?: string }
  | { type: 'conversation.item.input_audio_transcription.completed'; item_id: string; transcript?: string }
  | { type: 'conversation.item.input_audio_transcription.failed'; item_id: string; error?: { message?: string } }
  | { type: 'response.created' | 'response.done'; response: WireResponse }
  | { type: 'response.output_item.added' | 'response.output_item.done'; response_id?: string; item: WireItem }
  | { type: 'response.output_audio_transcript.delta'; response_id?: string; item_id: string; delta?: string }
  | { type: 'response.output_audio_transcript.done'; response_id?: string; item_id: string; transcript?: string }
  | {
      type: 'output_audio_buffer.started' | 'output_audio_buffer.stopped' | 'output_audio_buffer.cleared';
      response_id?: string;
    }
  | { type: 'avatar.turn.timings'; item_id?: string | null; response_id?: string | null; stages?: unknown }
  /** What going on with this talk takes, should it break off. */
  | { type: 'avatar.session.resumable'; conversation_id: string; token: string; expires_after_ms?: number }
  /** The talk goes on; `response_id` is the reply that does too. */
  | { type: 'avatar.session.resumed'; conversation_id?: string; from?: string; response_id?: string | null }
  | { type: 'avatar.hq.ready'; conversation_id: string; turn_id: string }
  | { type: 'error'; error?: { code?: string | null; message?: string } };

/** Which object an event of a type must carry to be of use. */
const required: Record<string, 'item_id' | 'item' | 'response' | undefined> = {
  'input_audio_buffer.speech_started': 'item_id',
  'input_audio_buffer.speech_stopped': 'item_id',
  'input_audio_buffer.committed': 'item_id',
  'conversation.item.added': 'item',
  'conversation.item.created': 'item',
  'conversation.item.done': 'item',
  'conversation.item.retrieved': 'item',
  'conversation.item.truncated': 'item_id',
  'conversation.item.deleted': 'item_id',
  'conversation.item.input_audio_transcription.delta': 'item_id',
  'conversation.item.input_audio_transcription.completed': 'item_id',
  'conversation.item.input_audio_transcription.failed': 'item_id',
  'response.created': 'response',
  'response.done': 'response',
  'response.output_item.added': 'item',
  'response.output_item.done': 'item',
  'response.output_audio_transcript.delta': 'item_id',
  'response.output_audio_transcript.done': 'item_id',
};

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const hasText = (value: unknown): value is string => typeof value === 'string' && value !== '';

/** The conversation that a `session.created` is of; `null` where the server does not say. */
export function conversationOf(session: unknown): string | null {
  const own = isRecord(session) ? session['avatar'] : null;
  return isRecord(own) && hasText(own['conversation_id']) ? own['conversation_id'] : null;
}

/** The call's id, by which the server ends it. */
export function callOf(session: unknown): string | null {
  const own = isRecord(session) ? session['avatar'] : null;
  return isRecord(own) && hasText(own['call_id']) ? own['call_id'] : null;
}

/** An event from the text of a data-channel message; `null` for what is not one, or lacks what its type must carry. */
export function parseEvent(message: string): ServerEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    return null;
  }
  if (!isRecord(value) || typeof value['type'] !== 'string') return null;
  const field = required[value['type']];
  if (field === 'item_id' && typeof value['item_id'] !== 'string') return null;
  if (field === 'item' || field === 'response') {
    const carried = value[field];
    if (!isRecord(carried) || typeof carried['id'] !== 'string') return null;
  }
  if (value['type'] === 'avatar.session.resumable' && !(hasText(value['token']) && hasText(value['conversation_id']))) return null;
  for (const text of ['delta', 'transcript', 'response_id']) {
    if (value[text] != null && typeof value[text] !== 'string') return null;
  }
  return value as ServerEvent;
}

const stageNames = [
  'turn_commit_ms',
  'text_final_ms',
  'first_token_ms',
  'first_sentence_ms',
  'first_audio_ms',
  'first_packet_ms',
] as const satisfies readonly (keyof Stages)[];

/** Stages from outside data; what is not a finite number counts as not reached. `null` when no stage was reached at all. */
export function parseStages(value: unknown): Stages | null {
  if (!isRecord(value)) return null;
  const stages = Object.fromEntries(
    stageNames.map((name) => {
      const ms = value[name];
      return [name, typeof ms === 'number' && Number.isFinite(ms) ? ms : null];
    }),
  ) as unknown as Stages;
  return stageNames.some((name) => stages[name] !== null) ? stages : null;
}

/** What an item says: the transcripts or texts of its parts. `null` when no part has any. */
export function textOf(item: WireItem): string | null {
  if (!Array.isArray(item.content)) return null;
  const parts = item.content
    .map((part) => part?.transcript ?? part?.text)
    .filter((part): part is string => typeof part === 'string');
  return parts.length > 0 ? parts.join('') : null;
}
