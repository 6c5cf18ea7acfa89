/**
 * How long to wait before the next try. Doubles, up to a limit, and is spread at random, so that the pages of a server that
 * comes back do not all ask at once. Pure: chance is an argument.
 */
export interface Backoff {
  firstMs: number;
  limitMs: number;
}

/** The wait before try `attempt` (1 is the first repetition); `chance` from 0 to 1. Between half of the full wait and all of it. */
export function wait({ firstMs, limitMs }: Backoff, attempt: number, chance: number): number {
  const full = Math.min(limitMs, firstMs * 2 ** Math.min(Math.max(attempt, 1) - 1, 30));
  return Math.round(full / 2 + (full / 2) * Math.min(Math.max(chance, 0), 1));
}
