import { describe, expect, it } from 'vitest';
import { Wave } from './wave';

const loud = { caller: 1, reply: 0 };
const soft = { caller: 0.2, reply: 0.4 };
const callers = (wave: Wave) => wave.read().map(({ caller }) => caller);

describe('the sound that runs past', () => {
  it('moves with the clock, not with the readings', () => {
    const wave = new Wave(50, 4);
    wave.take(0, loud);
    wave.take(10, soft);
    expect(callers(wave)).toEqual([0, 0, 0, 1]);
    wave.take(160, soft);
    expect(callers(wave)).toEqual([1, 0, 0, 0.2]);
    expect(wave.read().at(-1)).toEqual(soft);
  });

  it('is silent after a page that was put aside, and does not grow', () => {
    const wave = new Wave(50, 4);
    wave.take(0, loud);
    wave.take(3_600_000, soft);
    expect(callers(wave)).toEqual([0, 0, 0, 0.2]);
  });

  it('survives a clock that goes back', () => {
    const wave = new Wave(50, 2);
    wave.take(1_000, loud);
    wave.take(0, soft);
    expect(callers(wave)).toEqual([0, 1]);
  });
});
