// A voice of the user's own, all the way: its sample is uploaded in the page, the neural engine computes it, and a call speaks with it,
// live and in the better audio. The engine's weights are random ones of the small release's shape, so that it speaks noise.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, launch, listenUntil, open, screenshot } from './browser.mjs';
import { BINARY, MODELS, scratch, Server } from './server.mjs';
import { microphone, RATE, utterances } from './speech.mjs';
import { conversationOf, replies } from './turns.mjs';
import { writeWav } from './wav.mjs';

const PATIENCE_MS = 120_000;
const RELEASE = 'pocket-tts-18m';

/** The models that are there, and beside them the neural voice. */
function withNeuralVoice(folder) {
  const models = join(folder, 'models');
  const voice = join(models, RELEASE);
  mkdirSync(voice, { recursive: true });
  for (const name of readdirSync(MODELS).filter((name) => name !== RELEASE)) symlinkSync(join(MODELS, name), join(models, name));
  // Built with the tests.
  execFileSync(join(dirname(BINARY), 'examples', 'tts_bench'), ['weights', voice, 'release=18m']);
  return models;
}

describe('a voice of the user’s own', () => {
  let server;
  let browser;
  const folder = scratch();
  // One speaker, above three seconds.
  const [{ path: sample }] = utterances();
  before(async () => {
    const file = join(folder, 'microphone.wav');
    writeWav(file, microphone(utterances(['talking-about']), { lead: 6, gap: 60 }), RATE);
    const settings = {
      AVATAR_MODELS: withNeuralVoice(folder),
      AVATAR_ENGINES_TTS: RELEASE,
      // What is spoken is noise, and as long as the text lets it be.
      AVATAR_SESSION_MAX_REPLY_TOKENS: '8',
    };
    [server, browser] = await Promise.all([Server.start(settings), launch({ microphone: file })]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test('is made of a sample, chosen, and spoken with', async () => {
    const page = await open(browser, `${server.url}/voices`);
    await page.getByTestId('open-add').click();
    await page.getByTestId('way-upload').click();
    await page.getByTestId('file').setInputFiles(sample);
    await page.getByTestId('voice-name').fill('My own');
    await page.getByTestId('consent').check();
    await page.getByTestId('send-voice').click();
    const mine = page.locator('[data-testid="voice"]').filter({ hasText: 'My own' });
    // The page hears of it by itself.
    await mine.and(page.locator('[data-state="ready"]')).waitFor({ timeout: PATIENCE_MS });
    await mine.getByTestId('use-voice').click();
    await mine.and(page.locator('[data-in-use="true"]')).waitFor();
    await screenshot(page, 'cloned');
    const [{ voice }] = await server.json('/api/voice-profiles');
    assert.match(voice, /^pocket-tts\/voice_/);

    await page.getByTestId('nav-talk').click();
    await call(page);
    const over = ({ status, stoppedAt }) => status !== 'unfinished' && stoppedAt !== null;
    const seen = await listenUntil(page, (seen) => replies(seen).some(over), PATIENCE_MS);
    assert.equal(replies(seen)[0].status, 'completed');
    const conversation = conversationOf(seen);
    await page.close();

    const turn = async () => (await server.json(`/api/conversations/${conversation}`)).turns[0];
    for (const limit = Date.now() + PATIENCE_MS; (await turn()).assistant.hq.state !== 'ready'; await sleep(200)) {
      assert.ok(Date.now() < limit, `the better audio is not made: ${JSON.stringify((await turn()).assistant.hq)}`);
    }
    const { voice: spoken, assistant } = await turn();
    assert.deepEqual([spoken, assistant.hq.voice], [voice, voice]);
  });
});
