// What a caller says: phrases cut from recordings, microphone files made of them, and sounds that are no speech.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODELS, ROOT } from './server.mjs';
import { concatenate, readWav, resample, silence } from './wav.mjs';

/** Of the microphone files. */
export const RATE = 48_000;
/** Softens the cuts. */
const FADE_SECONDS = 0.01;

const catalogue = JSON.parse(readFileSync(join(ROOT, 'tests/speech/utterances.json'), 'utf8'));
const STARTER = join(MODELS, 'speech-samples');
/** Recordings that may lie beside the repository; nothing needs them. */
export const BESIDE = join(ROOT, '../shared/speech');

/** The phrases with these ids, or all of them that are there. */
export function utterances(ids) {
  const there = [
    ...catalogue.recordings.map((entry) => ({ ...entry, path: join(STARTER, entry.file) })),
    ...catalogue.optional.map((entry) => ({ ...entry, path: join(BESIDE, entry.file) })).filter(({ path }) => existsSync(path)),
  ];
  if (ids === undefined) return there;
  return ids.map((id) => {
    const found = there.find((entry) => entry.id === id);
    if (found === undefined) throw new Error(`there is no phrase ${id}`);
    if (!existsSync(found.path)) throw new Error(`${found.path} is missing; run \`make models\``);
    return found;
  });
}

/** One phrase, at `RATE`. */
export function cut({ path, start, end }) {
  const { samples, rate } = readWav(path);
  const piece = resample(samples.slice(Math.round(start * rate), Math.round(end * rate)), rate, RATE);
  const fade = Math.round(FADE_SECONDS * RATE);
  for (let i = 0; i < Math.min(fade, piece.length); i += 1) {
    piece[i] *= i / fade;
    piece[piece.length - 1 - i] *= i / fade;
  }
  return piece;
}

/** The phrases one after another: `lead` seconds of silence, then each with `gap` seconds after it. */
export function microphone(phrases, { lead, gap }) {
  return concatenate([silence(lead, RATE), ...phrases.flatMap((phrase) => [cut(phrase), silence(gap, RATE)])]);
}

/**
 * `seconds` of what is no speech, in five parts: silence, white noise, chords of plucked tones, mains hum with clicks, and
 * the room noise from beside the repository, or pink noise where that is not there. Always the same.
 */
export function noises(seconds) {
  const part = Math.round((seconds / 5) * RATE);
  const random = seeded(20_071);
  const at = (make) => Float32Array.from({ length: part }, (_, i) => make(i / RATE, i));
  let pink = 0;
  const room = join(BESIDE, 'noise.wav');
  const pieces = [
    silence(seconds / 5, RATE),
    at(() => 0.02 * (random() * 2 - 1)),
    at((t) => chord(t)),
    at((t) => 0.03 * (Math.sin(2 * Math.PI * 50 * t) + 0.5 * Math.sin(2 * Math.PI * 150 * t)) + (t % 0.7 < 0.002 ? 0.3 * (random() * 2 - 1) : 0)),
    at(() => (pink = 0.97 * pink + 0.006 * (random() * 2 - 1))),
  ];
  if (existsSync(room)) {
    const { samples, rate } = readWav(room);
    const noise = resample(samples, rate, RATE);
    pieces[4] = at((_, i) => noise[i % noise.length]);
  }
  return concatenate(pieces);
}

/** Two chords a second, each plucked and dying away, with overtones. */
function chord(t) {
  const roots = [220, 174.6, 261.6, 196];
  const beat = Math.floor(t * 2);
  const age = t - beat / 2;
  let sum = 0;
  for (const step of [1, 1.26, 1.498]) {
    for (let overtone = 1; overtone <= 5; overtone += 1) {
      sum += (Math.sin(2 * Math.PI * roots[beat % roots.length] * step * overtone * t) * Math.exp(-3 * overtone * age)) / overtone;
    }
  }
  return 0.08 * sum * Math.min(1, age / 0.005);
}

/** mulberry32: a small generator that gives the same numbers everywhere. */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}
