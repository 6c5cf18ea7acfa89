/**
 * What the page does about a link that broke: first another path for the same call (an ICE restart), then another call that goes
 * on with the talk, further and further apart, until it is up or there is nothing to go on with. Pure: time and chance are
 * arguments; the driver in `call.ts` owns timers, sockets and events.
 *
 * Promises: at most one try at a time; a network that comes back is used at once; a link that recovers by itself is left alone;
 * it ends, at the latest [`PATIENCE_MS`] after the break.
 */
import { wait } from '../api/backoff';
import type { Failure } from './failure';

export type Link =
  | { kind: 'up' }
  /** Another path for the same call is being looked for; from `until` on there is none. */
  | { kind: 'restarting'; broke: number; tries: number; until: number }
  /** Another call is being made. */
  | { kind: 'calling'; broke: number; tries: number }
  /** Nothing is tried before `until`. `gone`: the call itself is over, only another one helps. */
  | { kind: 'waiting'; broke: number; tries: number; until: number; gone: boolean }
  | { kind: 'over'; failure: Failure };

export type LinkInput =
  | { kind: 'interrupted' }
  | { kind: 'recovered' }
  /** The call is over and nobody hung up. */
  | { kind: 'lost' }
  /** The device has come online or is on another network. */
  | { kind: 'network' }
  /** `gone`: the server knows no such call, or can't do this at all. */
  | { kind: 'restart-failed'; gone: boolean }
  | { kind: 'called' }
  | { kind: 'call-failed'; failure: Failure }
  | { kind: 'tick' };

/** What the driver is to do: look for another path, or make another call. */
export type LinkStep = 'restart' | 'call' | null;

export interface LinkContext {
  /** In ms, on the clock that the link's times are on. */
  now: number;
  /** From 0 to 1. */
  chance: number;
  /** Whether another call could go on with the talk. */
  resumable: boolean;
}

/** From the break on, how long a talk is tried to be saved. */
export const PATIENCE_MS = 180_000;
/** How long a new path may take before another call is tried, which loses nothing. On a working network it takes some round trips. */
export const RESTART_MS = 300;
/** The same where there is nothing else to try. */
export const LONG_RESTART_MS = 3_000;
/** After the break, how long the old call is worth a new path: later the server has let go of it. */
const WORTH_A_PATH_MS = 8_000;
const BACKOFF = { firstMs: 500, limitMs: 4_000 };
/** A server that asks to be left alone for longer is asked again after this: the caller waits. */
const LONGEST_WAIT_MS = 15_000;

export const linkUp: Link = { kind: 'up' };

const over = (failure: Failure): [Link, LinkStep] => [{ kind: 'over', failure }, null];

/** Failures which another try does not change. */
function isFinal(failure: Failure): boolean {
  switch (failure.kind) {
    case 'unreachable':
    case 'no-path':
    case 'full':
    case 'draining':
    case 'loading':
    case 'engine':
      return false;
    case 'rejected':
      return failure.status !== 0 && failure.status < 500;
    default:
      return true;
  }
}

/** The link after `input`, and what to do now. */
export function nextLink(link: Link, input: LinkInput, context: LinkContext): [Link, LinkStep] {
  const { now, resumable } = context;
  const patience = resumable ? RESTART_MS : LONG_RESTART_MS;
  if (link.kind === 'over') return [link, null];
  if (link.kind === 'up') {
    switch (input.kind) {
      case 'interrupted':
        return [{ kind: 'restarting', broke: now, tries: 1, until: now + patience }, 'restart'];
      case 'lost':
        return resumable ? [{ kind: 'calling', broke: now, tries: 1 }, 'call'] : over({ kind: 'dropped' });
      case 'network':
        // The old path may be dead without a sign; a new one does no harm to a call that works.
        return [link, 'restart'];
      case 'restart-failed':
        // Of a call that works nothing has to be saved, unless the server has none any more.
        return input.gone && resumable ? [{ kind: 'calling', broke: now, tries: 1 }, 'call'] : [link, null];
      default:
        return [link, null];
    }
  }
  const { broke, tries } = link;
  if (now - broke >= PATIENCE_MS && input.kind !== 'called' && input.kind !== 'recovered') return over({ kind: 'dropped' });

  const call = (): [Link, LinkStep] => [{ kind: 'calling', broke, tries }, 'call'];
  const later = (gone: boolean, atLeastMs = 0): [Link, LinkStep] => {
    const ms = Math.max(wait(BACKOFF, tries, context.chance), Math.min(atLeastMs, LONGEST_WAIT_MS));
    return [{ kind: 'waiting', broke, tries: tries + 1, until: now + ms, gone }, null];
  };
  const attempt = (gone: boolean, tries: number): [Link, LinkStep] =>
    gone || (resumable && now - broke >= WORTH_A_PATH_MS)
      ? [{ kind: 'calling', broke, tries }, 'call']
      : [{ kind: 'restarting', broke, tries, until: now + patience }, 'restart'];

  switch (link.kind) {
    case 'restarting':
      switch (input.kind) {
        case 'recovered':
          return [linkUp, null];
        case 'lost':
          return resumable ? call() : over({ kind: 'dropped' });
        case 'restart-failed':
          if (input.gone && resumable) return call();
          return later(false);
        case 'network':
          return attempt(false, 1);
        case 'tick':
          if (now < link.until) return [link, null];
          return resumable ? call() : later(false);
        default:
          return [link, null];
      }

    case 'waiting':
      switch (input.kind) {
        case 'recovered':
          // The old call's last word, if that is over, is not the link's.
          return link.gone ? [link, null] : [linkUp, null];
        case 'lost':
          return resumable ? [{ ...link, gone: true }, null] : over({ kind: 'dropped' });
        case 'network':
          return attempt(link.gone, 1);
        case 'tick':
          return now < link.until ? [link, null] : attempt(link.gone, tries);
        default:
          return [link, null];
      }

    case 'calling':
      switch (input.kind) {
        case 'called':
          return [linkUp, null];
        case 'call-failed': {
          const { failure } = input;
          if (isFinal(failure)) return over(failure);
          return later(true, 'retryAfter' in failure ? failure.retryAfter * 1000 : 0);
        }
        default:
          return [link, null];
      }
  }
}

/** When the driver is to come back with a `tick`; `null`: something else will happen first. */
export function wakeAt(link: Link): number | null {
  if (link.kind === 'restarting' || link.kind === 'waiting') return Math.min(link.until, link.broke + PATIENCE_MS);
  return null;
}
