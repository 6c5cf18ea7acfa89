import { describe, expect, it } from 'vitest';
import type { Failure } from './failure';
import { linkUp, nextLink, PATIENCE_MS, RESTART_MS, wakeAt, type Link, type LinkInput } from './link';

/** A link in virtual time: `feed` says what happens, `sleep` lets the driver's alarm ring when it is due. */
class Rig {
  now = 1_000;
  link: Link = linkUp;
  steps: string[] = [];
  resumable = true;
  chance = 1;

  feed(input: LinkInput): this {
    const [link, step] = nextLink(this.link, input, this);
    this.link = link;
    if (step !== null) this.steps.push(`${step}@${this.now}`);
    return this;
  }

  sleep(ms: number): this {
    const end = this.now + ms;
    for (let at = wakeAt(this.link); at !== null && at <= end; at = wakeAt(this.link)) {
      this.now = Math.max(this.now, at);
      const before = this.link;
      this.feed({ kind: 'tick' });
      expect(this.link, 'an alarm that changes nothing rings for ever').not.toBe(before);
    }
    this.now = end;
    return this;
  }
}

const unreachable: Failure = { kind: 'unreachable' };
const callFailed = (failure: Failure): LinkInput => ({ kind: 'call-failed', failure });

describe('a link that breaks', () => {
  it('is given another path at once, and goes on when there is one', () => {
    const rig = new Rig().feed({ kind: 'interrupted' });
    expect(rig.steps).toEqual(['restart@1000']);
    rig.sleep(200).feed({ kind: 'recovered' });
    expect(rig.link).toEqual(linkUp);
    expect(wakeAt(rig.link)).toBeNull();
  });

  it('is replaced by another call when no path is found in time', () => {
    const rig = new Rig().feed({ kind: 'interrupted' }).sleep(RESTART_MS);
    expect(rig.steps).toEqual(['restart@1000', `call@${1_000 + RESTART_MS}`]);
    rig.feed({ kind: 'called' });
    expect(rig.link).toEqual(linkUp);
  });

  it('is replaced at once when the server knows the call no more, as after its restart', () => {
    const rig = new Rig().feed({ kind: 'interrupted' }).feed({ kind: 'restart-failed', gone: true });
    expect(rig.steps).toEqual(['restart@1000', 'call@1000']);
  });

  it('is replaced at once when the call is over', () => {
    expect(new Rig().feed({ kind: 'lost' }).steps).toEqual(['call@1000']);
    expect(new Rig().feed({ kind: 'interrupted' }).feed({ kind: 'lost' }).steps).toEqual(['restart@1000', 'call@1000']);
  });
});

describe('five seconds without a network', () => {
  it('cost no longer than the five seconds: the network is used the moment it is back', () => {
    const rig = new Rig().feed({ kind: 'interrupted' }).feed({ kind: 'restart-failed', gone: false });
    rig.sleep(500);
    expect(rig.steps.at(-1)).toBe('restart@1500');
    rig.feed({ kind: 'restart-failed', gone: false }).sleep(300);
    rig.feed({ kind: 'network' });
    expect(rig.steps.at(-1)).toBe('restart@1800');
    rig.feed({ kind: 'recovered' });
    expect(rig.link).toEqual(linkUp);
  });
});

describe('a server that stays away', () => {
  it('is asked further and further apart, never more than one try at a time', () => {
    const rig = new Rig().feed({ kind: 'lost' });
    for (let i = 0; i < 6; i += 1) rig.feed(callFailed(unreachable)).sleep(8_000);
    const calls = rig.steps.map((step) => Number(step.split('@')[1]));
    const gaps = calls.slice(1).map((at, i) => at - (calls[i] ?? 0));
    // Each try fails 8 s after the one before was due at the latest; the waits show in when the alarm rang.
    expect(rig.steps.every((step) => step.startsWith('call'))).toBe(true);
    expect(gaps).toHaveLength(6);
    const waits = [500, 1_000, 2_000, 4_000, 4_000, 4_000];
    let failedAt = 1_000;
    waits.forEach((wait, i) => {
      expect((calls[i + 1] ?? 0) - failedAt).toBe(wait);
      failedAt += 8_000;
    });
  });

  it('is not asked by all pages at the same moment', () => {
    const due = (chance: number) => {
      const rig = new Rig();
      rig.chance = chance;
      rig.feed({ kind: 'lost' }).feed(callFailed(unreachable));
      return wakeAt(rig.link);
    };
    expect(due(0)).toBe(1_250);
    expect(due(0.5)).toBe(1_375);
    expect(due(1)).toBe(1_500);
  });

  it('is asked when it said it would be ready, if that is soon', () => {
    const due = (retryAfter: number) => {
      const rig = new Rig().feed({ kind: 'lost' }).feed(callFailed({ kind: 'loading', retryAfter, detail: null }));
      return (wakeAt(rig.link) ?? 0) - rig.now;
    };
    expect(due(5)).toBe(5_000);
    expect(due(600)).toBe(15_000);
  });

  it('is given up in the end', () => {
    const rig = new Rig().feed({ kind: 'lost' });
    for (let i = 0; i < 1_000 && rig.link.kind !== 'over'; i += 1) rig.feed(callFailed(unreachable)).sleep(8_000);
    expect(rig.link).toEqual({ kind: 'over', failure: { kind: 'dropped' } });
    expect(rig.now).toBeLessThan(1_000 + PATIENCE_MS + 16_001);
    const tries = rig.steps.length;
    rig.feed({ kind: 'network' }).feed({ kind: 'interrupted' });
    expect(rig.steps).toHaveLength(tries);
  });

  it('that comes back at the very end is still taken', () => {
    const rig = new Rig().feed({ kind: 'lost' });
    rig.now += PATIENCE_MS + 1;
    expect(rig.feed({ kind: 'called' }).link).toEqual(linkUp);
  });
});

describe('what another try does not change', () => {
  it('ends it with its reason', () => {
    for (const failure of [{ kind: 'expired' }, { kind: 'key', wrong: true }, { kind: 'rejected', status: 400, detail: null }] as const) {
      const rig = new Rig().feed({ kind: 'lost' }).feed(callFailed(failure));
      expect(rig.link).toEqual({ kind: 'over', failure });
    }
  });

  it('is told from what it may', () => {
    for (const failure of [unreachable, { kind: 'no-path' }, { kind: 'rejected', status: 500, detail: null }] as const) {
      expect(new Rig().feed({ kind: 'lost' }).feed(callFailed(failure)).link.kind).toBe('waiting');
    }
  });
});

describe('a network that changes under a call that works', () => {
  it('is given a path without a word to the user', () => {
    const rig = new Rig().feed({ kind: 'network' });
    expect(rig.link).toEqual(linkUp);
    expect(rig.steps).toEqual(['restart@1000']);
    expect(rig.feed({ kind: 'restart-failed', gone: false }).link).toEqual(linkUp);
  });

  it('shows that the server has lost the call before the link does', () => {
    expect(new Rig().feed({ kind: 'network' }).feed({ kind: 'restart-failed', gone: true }).steps).toEqual(['restart@1000', 'call@1000']);
  });
});

describe('a server that keeps no talks', () => {
  it('gets no second call: the first may come back, or is lost', () => {
    const rig = new Rig();
    rig.resumable = false;
    rig.feed({ kind: 'interrupted' }).feed({ kind: 'restart-failed', gone: true }).sleep(20_000);
    expect(rig.steps.every((step) => step.startsWith('restart'))).toBe(true);
    expect(rig.feed({ kind: 'lost' }).link).toEqual({ kind: 'over', failure: { kind: 'dropped' } });
  });
});

describe('what comes too late', () => {
  it('is not taken for the new call’s', () => {
    const rig = new Rig().feed({ kind: 'lost' });
    for (const late of ['recovered', 'interrupted', 'lost'] as const) expect(rig.feed({ kind: late }).link.kind).toBe('calling');
    rig.feed(callFailed(unreachable)).feed({ kind: 'recovered' });
    expect(rig.link.kind).toBe('waiting');
    expect(rig.steps).toEqual(['call@1000']);
  });
});
