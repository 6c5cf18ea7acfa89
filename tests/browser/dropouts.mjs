// Silence where none belongs, and samples at the stops.
//
// A voice is silent inside a sentence too: before a `t`, at a comma. So each pause of a recorded reply is held against the
// same sentences as the voice says them by themselves: it must have one there as well, hardly shorter. Between clauses, where
// a server may begin a new rendering, a short breath is granted. Places are told by how much was voiced before them, which
// pauses do not shift.
import { levels } from './wav.mjs';

/** Longest silence, in seconds, that may come on top of what the voice does by itself. */
const LONGEST = 0.06;
/** A breath between two clauses, in seconds. */
const BREATH = 0.15;
/** Below the loud parts by this many dB is silence. */
const FLOOR_DB = 45;
/** How far the places of one pause may lie apart: seconds, and a share of what was voiced before. */
const NEAR_SECONDS = 0.15;
const NEAR_SHARE = 0.04;

/** Pauses between the first and the last voiced frame: how much was voiced before each, and how long it is, in seconds. */
export function pauses(samples, rate) {
  const level = levels(samples, rate);
  const loud = [...level].sort((a, b) => b - a)[Math.floor(level.length * 0.05)] ?? -120;
  const voiced = level.map((each) => each > loud - FLOOR_DB && each > -70);
  const found = [];
  let [before, length] = [0, 0];
  for (const is of voiced) {
    if (is) {
      if (length > 0 && before > 0) found.push({ after: before / 100, length: length / 100 });
      length = 0;
      before += 1;
    } else {
      length += 1;
    }
  }
  return { pauses: found, voiced: before / 100 };
}

/**
 * Pauses inside a sentence of `recording` that the voice itself does not make. `sentences` are its own renderings, each
 * `{ whole, clauses }`: of the sentence, and of its clauses one by one.
 */
export function dropouts(recording, sentences, rate) {
  const own = [];
  let spoken = 0;
  sentences.forEach(({ whole, clauses }, i) => {
    const { pauses: inner, voiced } = pauses(whole, rate);
    own.push(...inner.map(({ after, length }) => ({ after: spoken + after, length })));
    let said = spoken;
    for (const clause of clauses.slice(0, -1)) {
      said += pauses(clause, rate).voiced;
      own.push({ after: said, length: BREATH });
    }
    spoken += voiced;
    if (i + 1 < sentences.length) own.push({ after: spoken, length: Infinity });
  });
  const near = (a, b) => Math.abs(a - b) <= NEAR_SECONDS + NEAR_SHARE * b;
  return pauses(recording, rate).pauses.filter(
    ({ after, length }) => length > LONGEST && !own.some((pause) => near(after, pause.after) && length <= pause.length + LONGEST),
  );
}

/** How many samples stand at full scale next to another that does: what clipping leaves. */
export function clipped(samples) {
  let count = 0;
  for (let i = 1; i < samples.length; i += 1) {
    if (Math.abs(samples[i]) >= 0.999 && Math.abs(samples[i - 1]) >= 0.999) count += 1;
  }
  return count;
}

const speakable = (parts) => (parts ?? []).map((part) => part.trim()).filter((part) => /[\p{L}\p{N}]/u.test(part));

/** A text's sentences. */
export const sentencesOf = (text) => speakable(text.match(/[^.!?]+(?:[.!?]+["')\]]*|$)/g));

/** A sentence's clauses. */
export const clausesOf = (sentence) => speakable(sentence.match(/.+?(?:[,;:—]["')\]]*(?=\s)|$)/g));
