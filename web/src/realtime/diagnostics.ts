/**
 * `window.__avatar`: a diagnostics hook for measurements and end-to-end tests. Not an interface for other code: the page itself
 * never reads it.
 *
 * - `remoteStream`: the server's audio of the running or last call, for recording what the caller hears.
 * - `events`: what the server sent during the call, each with its `performance.now()` time; the newest [`KEPT`] of them.
 */
import type { ServerEvent } from './events';

/** Bound of `events`; the oldest go first. About ten minutes of lively talk. */
const KEPT = 4_000;

export interface Diagnostics {
  remoteStream: MediaStream | null;
  events: { at: number; event: ServerEvent }[];
}

declare global {
  interface Window {
    __avatar: Diagnostics;
  }
}

export function installDiagnostics(): void {
  window.__avatar = { remoteStream: null, events: [] };
}

export const diagnostics = {
  begin(): void {
    window.__avatar.remoteStream = null;
    window.__avatar.events.length = 0;
  },
  remote(stream: MediaStream): void {
    window.__avatar.remoteStream = stream;
  },
  record(event: ServerEvent, at: number): void {
    const { events } = window.__avatar;
    if (events.length >= KEPT) events.splice(0, events.length - KEPT + 1);
    events.push({ at, event });
  },
};
