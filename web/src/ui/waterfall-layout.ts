/** Where the bars of a turn's stages lie. Pure. */
import type { Stages } from '../realtime/events';

export interface Row {
  name: keyof Stages;
  /** In ms after the caller's last word; `null`: not reached. */
  at: number | null;
  /** The bar's ends, in percent of the axis. */
  from: number;
  to: number;
}

/**
 * Each bar begins where the stage that it needs was reached. Transcribing overlaps with the wait for the turn's end, so the
 * words do not wait for the commit; the first packet waits for both its audio and the commit.
 */
const needs: Record<keyof Stages, readonly (keyof Stages)[]> = {
  turn_commit_ms: [],
  text_final_ms: [],
  first_token_ms: ['text_final_ms'],
  first_sentence_ms: ['first_token_ms'],
  first_audio_ms: ['first_sentence_ms'],
  first_packet_ms: ['first_audio_ms', 'turn_commit_ms'],
};

const order = Object.keys(needs) as (keyof Stages)[];

/** Rows in the pipeline's order, and where the turn's commit lies on the axis, in percent. */
export function layOut(stages: Stages): { rows: Row[]; commit: number | null } {
  const length = Math.max(1, ...order.map((name) => stages[name] ?? 0));
  const percent = (ms: number) => (Math.min(Math.max(ms, 0), length) / length) * 100;
  const rows = order.map((name): Row => {
    const at = stages[name];
    if (at === null) return { name, at, from: 0, to: 0 };
    const start = Math.max(0, ...needs[name].map((needed) => stages[needed] ?? 0));
    return { name, at, from: percent(Math.min(start, at)), to: percent(at) };
  });
  return { rows, commit: stages.turn_commit_ms === null ? null : percent(stages.turn_commit_ms) };
}
