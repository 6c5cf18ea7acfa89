import { describe, expect, it } from 'vitest';
import { Flow, LOOK_MS, packetsOf, SILENT_MS } from './flow';

/** Looks every [`LOOK_MS`]; `said` is what came of it, each with the time. */
class Rig {
  readonly flow = new Flow();
  now = 5_000;
  packets = 0;
  said: string[] = [];

  run(ms: number, packetsALook: number, step = LOOK_MS): this {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += step;
      this.packets += packetsALook;
      const word = this.flow.look(this.now, this.packets);
      if (word !== null) this.said.push(`${word}@${this.now}`);
    }
    return this;
  }
}

describe('a server that is heard no more', () => {
  it('is noticed after a second, once, and so is its return', () => {
    const rig = new Rig().run(2_000, 10);
    expect(rig.said).toEqual([]);
    rig.run(5_000, 0);
    expect(rig.said).toEqual([`silent@${7_000 + SILENT_MS}`]);
    rig.run(2_000, 10);
    expect(rig.said.slice(1)).toEqual([`flowing@${12_000 + LOOK_MS}`]);
  });

  it('is noticed again when what the browser took for a working path brings nothing', () => {
    const rig = new Rig().run(2_000, 10).run(3_000, 0);
    rig.flow.trust();
    rig.run(3_000, 0);
    expect(rig.said).toHaveLength(2);
  });

  it('is not taken for gone in a stutter, nor before it has said anything, nor by a page that slept', () => {
    expect(new Rig().run(2_000, 10).run(600, 0).run(2_000, 10).run(600, 0).run(2_000, 10).said).toEqual([]);
    expect(new Rig().run(60_000, 0).said).toEqual([]);
    const sleeper = new Rig().run(2_000, 10);
    sleeper.now += 3_600_000;
    expect(sleeper.run(LOOK_MS, 0).run(LOOK_MS, 10).said).toEqual([]);
  });

  it('is watched by a page in the background too, whose clock ticks slowly', () => {
    const rig = new Rig().run(10_000, 50, 1_000);
    expect(rig.said).toEqual([]);
    expect(rig.run(10_000, 0, 1_000).said).toHaveLength(1);
  });
});

it('counts what comes in, and says nothing where the browser does not', async () => {
  const receiver = (reports: object[]) =>
    ({ getStats: async () => new Map(reports.map((report, i) => [String(i), report])) }) as unknown as RTCRtpReceiver;
  expect(await packetsOf(receiver([{ type: 'codec' }, { type: 'inbound-rtp', packetsReceived: 7 }]))).toBe(7);
  expect(await packetsOf(receiver([{ type: 'inbound-rtp' }, { type: 'outbound-rtp', packetsReceived: 7 }]))).toBeNull();
});
