// One talk from the page's button to the last word, and what is demanded of it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { call, launch, listenUntil, open, record, recorded, screenshot } from './browser.mjs';
import { clausesOf, clipped, dropouts, sentencesOf } from './dropouts.mjs';
import { avatar, scratch } from './server.mjs';
import { microphone, RATE, utterances } from './speech.mjs';
import { committed, conversationOf, replies, soundOf, transcripts } from './turns.mjs';
import { errorRate } from './words.mjs';
import { readWav, resample, writeWav } from './wav.mjs';

/**
 * The microphone plays by the clock and waits for nobody: after each phrase, room for a reply of the length below, in
 * seconds. Where the machine is so slow that a reply did not fit, the talk is held again with the second.
 */
const GAPS = [16, 40];
/** From the press on the button to the open call; Chromium starts the file at the press. */
const LEAD_SECONDS = 6;
/** Of a reply. Spoken they last about seven seconds, so that a machine has as long again to begin. */
export const REPLY_TOKENS = 24;
/** How much later than the file's end the last reply may end on a slow machine. */
const PATIENCE_MS = 45_000;

/**
 * Talks in a new browser and gives what came of it: `{ page, browser, phrases, events, tape, conversation }`. The caller
 * closes the browser.
 */
export async function talk(server, ids, { shots } = {}) {
  const [gap, long] = GAPS;
  const done = await hold(server, ids, gap, shots);
  if (!wasTooSlow(done)) return done;
  await done.browser.close();
  return hold(server, ids, long, shots);
}

/** Each phrase was one turn, but some reply was not over when the next phrase began. */
function wasTooSlow({ phrases, events }) {
  const late = replies(events).some(({ status, reason }) => status === 'cancelled' && reason === 'turn_detected');
  return late && committed(events).length === phrases.length;
}

async function hold(server, ids, gap, shots) {
  const phrases = utterances(ids);
  const file = join(scratch(), 'microphone.wav');
  const sound = microphone(phrases, { lead: LEAD_SECONDS, gap });
  writeWav(file, sound, RATE);
  const browser = await launch({ microphone: file });
  try {
    const page = await open(browser, server.url);
    if (shots !== undefined) await screenshot(page, `${shots}-idle`);
    await call(page);
    await record(page);
    if (shots !== undefined) {
      await listenUntil(page, (seen) => replies(seen).some(({ startedAt }) => startedAt !== null), PATIENCE_MS);
      await screenshot(page, `${shots}-speaking`);
    }
    const limit = (sound.length / RATE) * 1000 + PATIENCE_MS;
    const ended = ({ status, stoppedAt }) => status === 'cancelled' || (status !== 'unfinished' && stoppedAt !== null);
    const over = (seen) => replies(seen).length >= phrases.length && replies(seen).every(ended);
    const seen = await listenUntil(page, over, limit);
    const tape = await recorded(page);
    return { browser, page, phrases, events: seen, tape, conversation: conversationOf(seen) };
  } catch (error) {
    await browser.close();
    throw error;
  }
}

/** What came of a talk, for the report of a failed run. */
function account(seen) {
  const turns = transcripts(seen).map(({ text }) => `heard "${text}"`);
  const answers = replies(seen).map(
    ({ text, status, reason, timings }) => `said "${text}" (${status} ${reason ?? ''}) ${JSON.stringify(timings)}`,
  );
  return [...turns, ...answers].join('\n');
}

/** Every phrase was one turn, understood, and answered once, to the end. */
export function assertUnderstood({ phrases, events: seen }, limit) {
  const heard = transcripts(seen);
  const table = phrases.map(({ id, text }, i) => `${id}: "${text}" heard as "${heard[i]?.text ?? ''}"`).join('\n');
  const cutIns = committed(seen).length - phrases.length;
  assert.equal(cutIns, 0, `${committed(seen).length} turns from ${phrases.length} phrases:\n${account(seen)}`);
  const rate = errorRate(phrases.map(({ text }, i) => ({ said: text, heard: heard[i]?.text ?? '' })));
  assert.ok(rate <= limit, `word-error rate ${rate.toFixed(3)} of ${phrases.length} phrases:\n${table}`);

  const answers = replies(seen);
  assert.equal(answers.length, phrases.length, `${answers.length} replies to ${phrases.length} phrases:\n${account(seen)}`);
  for (const { text, status, reason, startedAt, stoppedAt } of answers) {
    assert.equal(status, 'completed', `reply "${text}" ended as ${status} (${reason}):\n${account(seen)}`);
    assert.notEqual(text, '');
    assert.ok(startedAt !== null && stoppedAt > startedAt, `reply "${text}" was not heard`);
  }
  const faults = seen.filter(({ event }) => event.type === 'error').map(({ event }) => event.error.message);
  assert.deepEqual(faults, []);
  return rate;
}

/** How the voice says a text by itself. */
async function say(text, voice) {
  const file = join(scratch(), 'said.wav');
  await avatar('say', text, '-o', file, ...(voice === undefined ? [] : ['--voice', voice]));
  const { samples, rate } = readWav(file);
  return resample(samples, rate, RATE);
}

/** What was heard in the page of each reply: `{ pairs, holes }`, a hole with the phrase whose reply it is in. */
async function listenTo({ phrases, events: seen, tape }, voice) {
  const folder = scratch();
  const pairs = [];
  const holes = [];
  for (const [i, reply] of replies(seen).entries()) {
    const sound = resample(soundOf(reply, tape), tape.rate, RATE);
    const file = join(folder, `reply-${i}.wav`);
    writeWav(file, sound, RATE);
    pairs.push({ said: reply.text, heard: await avatar('transcribe', file) });
    assert.equal(clipped(sound), 0, `reply "${reply.text}" is clipped`);
    const own = [];
    for (const sentence of sentencesOf(reply.text)) {
      const clauses = clausesOf(sentence);
      own.push({
        whole: await say(sentence, voice),
        clauses: clauses.length > 1 ? await Promise.all(clauses.map((clause) => say(clause, voice))) : [],
      });
    }
    holes.push(...dropouts(sound, own, RATE).map((hole) => ({ phrase: phrases[i]?.id, reply: reply.text, ...hole })));
  }
  return { pairs, holes };
}

/**
 * What was heard in the page is what the replies say: by the words, without holes, without clipping. A machine that is busy
 * with something else tears holes that no server can prevent; those do not come again, so what had one is asked again.
 */
export async function assertHeard(server, done, { limit, voice }) {
  let { pairs, holes } = await listenTo(done, voice);
  const rate = errorRate(pairs);
  const table = pairs.map(({ said, heard }) => `"${said}" heard as "${heard}"`).join('\n');
  assert.ok(rate <= limit, `word-error rate of the replies ${rate.toFixed(3)}:\n${table}`);
  for (let tries = 0; holes.length > 0 && tries < 2; tries += 1) {
    const again = await talk(server, [...new Set(holes.map(({ phrase }) => phrase))]);
    await again.browser.close();
    holes = (await listenTo(again, voice)).holes;
  }
  assert.deepEqual(holes, []);
  return rate;
}
