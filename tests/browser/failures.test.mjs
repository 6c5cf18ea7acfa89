// What goes wrong is said in plain words, in both languages.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { call, hangUp, launch, open, screenshot } from './browser.mjs';
import { scratch, Server } from './server.mjs';
import { RATE } from './speech.mjs';
import { silence, writeWav } from './wav.mjs';

const LANGUAGES = [
  { locale: 'en-US', letters: /^[^\p{Script=Han}]+$/u },
  { locale: 'zh-TW', letters: /\p{Script=Han}{8,}/u },
];

/** Presses the button and wants the failure `kind`, in words of the page's language, and a page that can go on. */
async function assertShown(page, kind, letters) {
  await page.getByTestId('talk-button').click();
  const failure = page.getByTestId('failure');
  await failure.waitFor({ timeout: 60_000 });
  assert.equal(await failure.getAttribute('data-kind'), kind);
  const text = await failure.innerText();
  assert.ok(text.trim().length > 15, text);
  assert.match(text, letters);
  assert.deepEqual(page.faults, []);
  return text;
}

describe('failures in plain words', () => {
  let server;
  let withMicrophone;
  let without;
  let refusing;
  before(async () => {
    const file = join(scratch(), 'silence.wav');
    writeWav(file, silence(5, RATE), RATE);
    [server, withMicrophone, without, refusing] = await Promise.all([
      Server.start({ AVATAR_MAX_CALLS: '1' }),
      launch({ microphone: file }),
      launch(),
      launch({ microphone: file, refuses: true }),
    ]);
  });
  after(async () => {
    await withMicrophone?.close();
    await without?.close();
    await refusing?.close();
    await server?.stop();
  });

  for (const { locale, letters } of LANGUAGES) {
    test(`permission refused (${locale})`, async () => {
      const page = await open(refusing, server.url, { locale });
      await assertShown(page, 'permission', letters);
      await screenshot(page, `failure-permission-${locale}`);
      await page.context().close();
    });

    test(`no microphone (${locale})`, async () => {
      const page = await open(without, server.url, { locale });
      await assertShown(page, 'no-microphone', letters);
      await page.context().close();
    });

    test(`server full (${locale})`, async () => {
      const first = await open(withMicrophone, server.url, { locale });
      await call(first);
      const second = await open(withMicrophone, server.url, { locale });
      await assertShown(second, 'full', letters);
      await screenshot(second, `failure-full-${locale}`);
      // The place that is given back is found by the next press.
      await hangUp(first);
      await first.waitForFunction(async () => (await (await fetch('/health')).json()).calls.active === 0, null, { timeout: 30_000, polling: 250 });
      await second.getByTestId('try-again').click();
      await second.locator('[data-testid="connection-state"][data-state="live"]').waitFor({ timeout: 60_000 });
      await hangUp(second);
      await second.waitForFunction(async () => (await (await fetch('/health')).json()).calls.active === 0, null, { timeout: 30_000, polling: 250 });
      await first.context().close();
      await second.context().close();
    });
  }

  test('the language can be switched while a failure is shown', async () => {
    const page = await open(without, server.url, { locale: 'en-US' });
    const english = await assertShown(page, 'no-microphone', LANGUAGES[0].letters);
    await page.getByTestId('switch-language').click();
    const chinese = await page.getByTestId('failure').innerText();
    assert.notEqual(chinese, english);
    assert.match(chinese, LANGUAGES[1].letters);
    await page.context().close();
  });
});
