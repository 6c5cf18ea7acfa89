/** What the stage shows: the phase of the call, within a call whose turn it is, and before one whether there can be any. Pure. */
import type { CallView } from '../realtime/call';
import { activityOf } from '../realtime/session';

export type Stance =
  | 'loading'
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

/** `loading`: the server has yet to load its models, and takes no calls. */
export function stanceOf({ phase, session, muted }: CallView, loading: boolean): Stance {
  if (loading && (phase.kind === 'idle' || phase.kind === 'ended')) return 'loading';
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
    case 'loading':
    case 'asking':
    case 'connecting':
    case 'reconnecting':
      return null;
  }
}
