import { describe, expect, it } from 'vitest';
import type { CallView, Phase } from '../realtime/call';
import { emptySession } from '../realtime/session';
import { pressOf, stanceOf } from './stance';

const view = (phase: Phase): CallView => ({
  phase,
  session: emptySession,
  muted: false,
  soundBlocked: false,
  callingAgain: false,
  offline: false,
  broken: null,
  conversation: null,
});

describe('while the server loads its models', () => {
  it('offers no call that would be refused', () => {
    for (const phase of [{ kind: 'idle' }, { kind: 'ended', seconds: 7 }] as const) {
      expect(stanceOf(view(phase), true)).toBe('loading');
      expect(pressOf(stanceOf(view(phase), true))).toBeNull();
      expect(pressOf(stanceOf(view(phase), false))).toBe('start');
    }
  });

  it('leaves a call that is up, and a failure that is shown, as they are', () => {
    expect(stanceOf(view({ kind: 'live', since: 0 }), true)).toBe(stanceOf(view({ kind: 'live', since: 0 }), false));
    expect(stanceOf(view({ kind: 'failed', failure: { kind: 'dropped' }, at: 0 }), true)).toBe('failed');
  });
});
