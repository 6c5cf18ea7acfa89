import { describe, expect, it } from 'vitest';
import { loudness, smooth } from '../audio/meter';
import { bytes, clock, dayOf, languageName, uptime } from './format';
import { layOut } from './waterfall-layout';

const stages = {
  turn_commit_ms: 200,
  text_final_ms: 150,
  first_token_ms: 240,
  first_sentence_ms: null,
  first_audio_ms: 380,
  first_packet_ms: 400,
};

describe('the waterfall', () => {
  it('starts each bar where the stage it needs was reached', () => {
    const { rows, commit } = layOut(stages);
    const bar = (name: string) => rows.find((row) => row.name === name);
    expect(commit).toBe(50);
    expect(bar('text_final_ms')).toMatchObject({ from: 0, to: 37.5 });
    expect(bar('first_token_ms')).toMatchObject({ from: 37.5, to: 60 });
    expect(bar('first_packet_ms')).toMatchObject({ from: 95, to: 100 });
  });

  it('draws no bar for a stage that was not reached, and none that runs backwards', () => {
    expect(layOut(stages).rows.find(({ name }) => name === 'first_sentence_ms')).toMatchObject({ at: null });
    const speculated = layOut({ ...stages, first_packet_ms: 100 });
    for (const { from, to } of speculated.rows) expect(to).toBeGreaterThanOrEqual(from);
  });

  it('stands on its axis when nothing was reached', () => {
    const nothing = Object.fromEntries(Object.keys(stages).map((name) => [name, null])) as unknown as typeof stages;
    expect(layOut(nothing)).toMatchObject({ commit: null });
  });
});

describe('the meter', () => {
  it('shows nothing for silence, everything for a shout, and the middle in between', () => {
    expect(loudness(0)).toBe(0);
    expect(loudness(Number.NaN)).toBe(0);
    expect(loudness(1)).toBe(1);
    expect(loudness(10 ** (-36 / 20))).toBeCloseTo(0.5);
  });

  it('rises at once and falls slowly', () => {
    expect(smooth(0.2, 0.9)).toBe(0.9);
    expect(smooth(0.9, 0)).toBeCloseTo(0.84);
    expect(smooth(0.01, 0)).toBe(0);
  });
});

describe('times', () => {
  it('are read as a clock', () => {
    expect([0, 7.9, 61, 3723].map(clock)).toEqual(['0:00', '0:07', '1:01', '1:02:03']);
  });

  it('are grouped by the calendar’s day, not by 24 hours', () => {
    const now = new Date(2026, 2, 2, 0, 30);
    expect(dayOf(new Date(2026, 2, 2, 0, 1), now, 'en')).toBe('today');
    expect(dayOf(new Date(2026, 2, 1, 23, 59), now, 'en')).toBe('yesterday');
    expect(dayOf(new Date(2026, 1, 28), now, 'en')).toEqual({ date: 'Saturday, February 28' });
    expect(dayOf(new Date(2025, 11, 31), now, 'en')).toEqual({ date: 'December 31, 2025' });
  });
});

describe('sizes and spans', () => {
  it('are read at a glance', () => {
    expect([0, 999, 25_000, 734_000_000, 1_684_000_000].map((size) => bytes(size, 'en'))).toEqual(['0 byte', '999 byte', '25 kB', '734 MB', '1.7 GB']);
    expect([7, 61, 3_600, 273_840].map((s) => uptime(s, 'en'))).toEqual(['7 sec', '1 min, 1 sec', '1 hr', '3 days, 4 hr']);
  });

  it('survive what is no language', () => {
    expect(languageName('zh-TW', 'en')).toBe('Chinese (Taiwan)');
    expect(languageName('not a tag', 'en')).toBe('not a tag');
  });
});
