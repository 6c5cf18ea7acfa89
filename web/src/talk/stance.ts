/** What the stage shows: the phase of the call, and within a call whose turn it is. Pure. */
import type { CallView } from '../realtime/call';
import { activityOf } from '../realtime/session';

export type Stance =
  | 'idle'
  | 'asking'
  | 'connecting'
  | 'listening'
  | 'hearing'
  | 'thinking'
  | 'speaking'
  | 'muted'
  | 'reconnecting'
  | 'ended'
  | 'failed';

export function stanceOf({ phase, session, muted }: CallView): Stance {
  if (phase.kind !== 'live') return phase.kind;
  const activity = activityOf(session);
  return muted && (activity === 'listening' || activity === 'hearing') ? 'muted' : activity;
}

/** What pressing the big button does. `null`: nothing right now. */
export type Press = 'start' | 'stop-reply' | 'mute' | 'unmute' | null;

export function pressOf(stance: Stance): Press {
  switch (stance) {
    case 'idle':
    case 'ended':
    case 'failed':
      return 'start';
    case 'thinking':
    case 'speaking':
      return 'stop-reply';
    case 'listening':
    case 'hearing':
      return 'mute';
    case 'muted':
      return 'unmute';
    case 'asking':
    case 'connecting':
    case 'reconnecting':
      return null;
  }
}
