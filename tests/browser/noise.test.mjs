// What is no speech starts nothing.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, events, launch, open } from './browser.mjs';
import { scratch, Server } from './server.mjs';
import { noises, RATE } from './speech.mjs';
import { committed, conversationOf, replies } from './turns.mjs';
import { writeWav } from './wav.mjs';

const SECONDS = 60;
/** For what the last sound may have started. */
const AFTERWARDS_MS = 5_000;

test('a minute of silence, noise and music-like tones is no turn and gets no reply', async () => {
  const server = await Server.start();
  const file = join(scratch(), 'noises.wav');
  writeWav(file, noises(SECONDS), RATE);
  const browser = await launch({ microphone: file });
  try {
    const page = await open(browser, server.url);
    await call(page);
    const level = () => page.getByTestId('mic-level').getAttribute('aria-valuenow');
    let loudest = 0;
    for (const end = Date.now() + 1000 * SECONDS + AFTERWARDS_MS; Date.now() < end; await sleep(200)) {
      loudest = Math.max(loudest, Number(await level()));
    }
    assert.ok(loudest > 0, 'the microphone was heard by nobody');
    const seen = await events(page);
    const texts = seen.filter(({ event }) => event.type.includes('transcription')).map(({ event }) => event.delta ?? event.transcript ?? event.type);
    assert.deepEqual(texts, []);
    assert.deepEqual(committed(seen), []);
    assert.deepEqual(replies(seen), []);
    assert.equal(await page.getByTestId('turn-user').count(), 0);
    const kept = await server.json('/api/conversations');
    assert.deepEqual(kept.filter(({ id, turns }) => id === conversationOf(seen) && turns > 0), []);
  } finally {
    await browser.close();
    await server.stop();
  }
});
