// A server with API keys and relays: the page asks for the key, calls with it, and uses the STUN and TURN servers it is told of.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { hangUp, launch, open, screenshot } from './browser.mjs';
import { scratch, Server } from './server.mjs';
import { RATE } from './speech.mjs';
import { silence, writeWav } from './wav.mjs';

const KEY = 'a-key-for-the-browser-tests-0123456789';
// Nobody listens there: the call finds its own way, but the browser must have been given them.
const RELAYS = `[{ urls = ["stun:127.0.0.1:9"] }, { urls = ["turn:127.0.0.1:9?transport=udp"], username = "caller", credential = "hush" }]`;

describe('a server that wants a key', () => {
  let server;
  let browser;
  before(async () => {
    const file = join(scratch(), 'silence.wav');
    writeWav(file, silence(5, RATE), RATE);
    [server, browser] = await Promise.all([
      Server.start({ AVATAR_API_KEYS: KEY, AVATAR_ICE_SERVERS: RELAYS }),
      launch({ microphone: file }),
    ]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const [locale, wrong] of [
    ['en-US', /didn’t take that key/],
    ['zh-TW', /不接受這把金鑰/],
  ]) {
    test(`asks for it, says when it is wrong, and calls with the right one (${locale})`, async () => {
      const page = await open(browser, server.url, { locale });
      await page.evaluate(() => {
        const Peer = RTCPeerConnection;
        window.RTCPeerConnection = class extends Peer {
          constructor(configuration) {
            super(configuration);
            window.__relays = configuration.iceServers;
          }
        };
      });
      await page.getByTestId('talk-button').click();
      const failure = page.locator('[data-testid="failure"][data-kind="key"]');
      await failure.waitFor({ timeout: 30_000 });
      await screenshot(page, `key-asked-${locale}`);

      await page.getByTestId('key').fill('not the key');
      await page.getByTestId('use-key').click();
      await failure.getByText(wrong).waitFor({ timeout: 30_000 });
      await screenshot(page, `key-wrong-${locale}`);

      await page.getByTestId('key').fill(KEY);
      await page.getByTestId('key').press('Enter');
      await page.locator('[data-testid="connection-state"][data-state="live"]').waitFor({ timeout: 60_000 });
      assert.deepEqual(await page.evaluate(() => window.__relays), [
        { urls: ['stun:127.0.0.1:9'] },
        { urls: ['turn:127.0.0.1:9?transport=udp'], username: 'caller', credential: 'hush' },
      ]);
      await hangUp(page);

      // The tab remembers it: the history opens too. Another tab does not.
      await page.goto(`${server.url}/history`);
      await page.locator('[data-testid="history-list"], [data-testid="history-empty"]').first().waitFor({ timeout: 30_000 });
      assert.equal(await page.getByTestId('key-form').count(), 0);
      assert.deepEqual(page.faults, []);
      await page.context().close();
      const other = await open(browser, `${server.url}/history`, { locale });
      await other.getByTestId('key-form').waitFor({ timeout: 30_000 });
      await screenshot(other, `key-history-${locale}`);
      await other.context().close();
    });
  }
});
