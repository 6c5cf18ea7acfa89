// The measuring tools themselves: each can fail.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clausesOf, clipped, dropouts, pauses, sentencesOf } from './dropouts.mjs';
import { errorRate, words } from './words.mjs';
import { concatenate, resample, silence } from './wav.mjs';

const RATE = 48_000;
const tone = (seconds, hertz = 300) => Float32Array.from({ length: seconds * RATE }, (_, i) => 0.3 * Math.sin((2 * Math.PI * hertz * i) / RATE));

test('words are compared as they are spoken', () => {
  assert.deepEqual(words('It’s 1,205—"well-known", 50% & more…'), ["it's", 'one', 'thousand', 'two', 'hundred', 'five', 'well', 'known', 'fifty', 'percent', 'and', 'more']);
  assert.equal(errorRate([{ said: 'one two three four', heard: 'One, too. Three four five!' }]), 0.5);
});

test('a resampled tone keeps its pitch and level, and nothing above the new band is left', () => {
  const kept = resample(tone(1, 1_000), RATE, 16_000);
  let error = 0;
  for (let i = 1_000; i < 15_000; i += 1) error = Math.max(error, Math.abs(kept[i] - 0.3 * Math.sin((2 * Math.PI * 1_000 * i) / 16_000)));
  assert.ok(error < 0.003, `off by ${error}`);
  const folded = resample(tone(1, 11_000), RATE, 16_000).slice(1_000, 15_000);
  assert.ok(Math.max(...folded.map(Math.abs)) < 0.003);
});

test('a hole in a sentence is found; pauses between sentences and breaths between clauses are not', () => {
  const first = concatenate([tone(0.7), silence(0.09, RATE), tone(0.5)]);
  const second = tone(2);
  const sentences = [
    { whole: first, clauses: [] },
    { whole: second, clauses: [tone(1), tone(1)] },
  ];
  const whole = concatenate([silence(0.5, RATE), first, silence(0.4, RATE), second, silence(0.5, RATE)]);
  assert.deepEqual(dropouts(whole, sentences, RATE), []);
  assert.equal(pauses(whole, RATE).pauses.length, 2);
  const holed = (at, length) => concatenate([whole.slice(0, at * RATE), silence(length, RATE), whole.slice(at * RATE)]);
  assert.equal(dropouts(holed(2.6, 0.08), sentences, RATE).length, 1);
  assert.equal(dropouts(holed(3.2, 0.12), sentences, RATE).length, 0);
  assert.equal(dropouts(holed(3.2, 0.3), sentences, RATE).length, 1);
  const stretched = concatenate([tone(0.7), silence(0.2, RATE), tone(0.5), silence(0.4, RATE), second]);
  assert.equal(dropouts(stretched, sentences, RATE).length, 1);
});

test('clipping is found, one loud sample is not clipping', () => {
  assert.equal(clipped(Float32Array.from([0, 1, 0, -1, 0.5])), 0);
  assert.equal(clipped(Float32Array.from([0, 1, 1, 1, 0])), 2);
});

test('a text falls into sentences, and those into clauses', () => {
  assert.deepEqual(clausesOf('Well, at 10:30, perhaps; or 1,000 times.'), ['Well,', 'at 10:30,', 'perhaps;', 'or 1,000 times.']);
  assert.deepEqual(sentencesOf('Yes. "Is it?" I think so." "'), ['Yes.', '"Is it?"', 'I think so."']);
});
