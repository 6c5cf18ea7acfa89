// The whole way of a talk that nobody said goodbye to: spoken, its tab closed, the server killed while it makes the better audio, and
// there again when the user comes back.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, launch, listenUntil, open, screenshot } from './browser.mjs';
import { scratch, Server } from './server.mjs';
import { microphone, RATE, utterances } from './speech.mjs';
import { conversationOf, replies, transcripts } from './turns.mjs';
import { writeWav } from './wav.mjs';

const PATIENCE_MS = 90_000;

/** A Festival that is as good as the real one, but holds its tongue while the file `hold` is there. The path that it is found on. */
function heldFestival(folder, hold) {
  const path = process.env.PATH ?? '';
  const real = path.split(delimiter).map((one) => join(one, 'festival')).find(existsSync);
  assert.ok(real !== undefined, 'Festival is not installed: run scripts/setup');
  const wrapper = join(folder, 'tools', 'festival');
  mkdirSync(join(folder, 'tools'));
  const lines = `while IFS= read -r line; do while [ -e '${hold}' ]; do sleep 0.05; done; printf '%s\\n' "$line"; done`;
  writeFileSync(wrapper, `#!/bin/sh\n{ ${lines}; } | '${real}' "$@"\n`);
  chmodSync(wrapper, 0o755);
  return `${join(folder, 'tools')}${delimiter}${path}`;
}

describe('a talk whose tab was closed and whose server was killed', () => {
  let server;
  let browser;
  const folder = scratch();
  const hold = join(folder, 'hold');
  before(async () => {
    const file = join(folder, 'microphone.wav');
    writeWav(file, microphone(utterances(['talking-about']), { lead: 6, gap: 30 }), RATE);
    const settings = { PATH: heldFestival(folder, hold), AVATAR_SESSION_VOICE: 'flite/slt', AVATAR_SESSION_MAX_REPLY_TOKENS: '24' };
    [server, browser] = await Promise.all([Server.start(settings), launch({ microphone: file })]);
  });
  after(async () => {
    rmSync(hold, { force: true });
    await browser?.close();
    await server?.stop();
  });

  test('is found with all that was said, and plays in the better voice', async () => {
    writeFileSync(hold, '');
    const page = await open(browser, server.url);
    await call(page);
    const over = ({ status, stoppedAt }) => status !== 'unfinished' && stoppedAt !== null;
    const seen = await listenUntil(page, (seen) => replies(seen).some(over), PATIENCE_MS);
    const conversation = conversationOf(seen);
    const [{ text }] = transcripts(seen);
    const [reply] = replies(seen);
    assert.equal(reply.status, 'completed');
    await page.close();

    const state = async () => (await server.json(`/api/conversations/${conversation}`)).turns[0]?.assistant.hq.state;
    for (const limit = Date.now() + PATIENCE_MS; (await state()) !== 'rendering'; await sleep(50)) {
      assert.ok(Date.now() < limit, `the better audio is not being made: ${await state()}`);
    }
    await server.kill();
    rmSync(hold);
    await server.start();

    const back = await open(browser, `${server.url}/history`);
    await back.locator(`[data-testid="history-item"][href$="${conversation}"]`).click();
    const turn = back.getByTestId('recorded-turn');
    await turn.first().waitFor();
    assert.equal(await turn.count(), 1);
    const shown = await turn.innerText();
    assert.ok(shown.includes(text) && shown.includes(reply.text), `"${text}", "${reply.text}" are not in: ${shown}`);
    await back.getByTestId('play-hq').waitFor({ timeout: PATIENCE_MS });
    await back.getByTestId('play-hq').click();
    await back.waitForFunction(
      () => document.querySelector('[data-testid="play-hq"]').parentElement.querySelector('audio').currentTime > 0.5,
      null,
      { timeout: 30_000 },
    );
    await screenshot(back, 'killed-and-back');
    assert.deepEqual(back.faults, []);
  });
});
