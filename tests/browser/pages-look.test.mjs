// Every page in both languages, both themes, on a desk and on a phone: usable by everyone, and a picture of each to look at
// (AVATAR_SHOTS says where they go).
import { after, before, describe, test } from 'node:test';
import { launch, open } from './browser.mjs';
import { MockServer } from './mock-server.mjs';
import { assertSound, LOOKS } from './pages.mjs';
import { join } from 'node:path';
import { scratch } from './server.mjs';
import { RATE } from './speech.mjs';
import { silence, writeWav } from './wav.mjs';

const first = (page, testid) => page.getByTestId(testid).first().waitFor();

describe('pages that everyone can use', () => {
  let server;
  let browser;
  before(async () => {
    const microphone = join(scratch(), 'microphone.wav');
    const hum = silence(20, RATE).map((_, i) => 0.12 * Math.sin((2 * Math.PI * 180 * i) / RATE) * Math.abs(Math.sin(i / 9_000)));
    writeWav(microphone, hum, RATE);
    [server, browser] = await Promise.all([MockServer.start({ count: 60 }), launch({ microphone })]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const look of LOOKS) {
    // What opens on a page is looked at in each theme and size once; its words are the dictionary's.
    const deep = look.locale === 'zh-TW';
    const on = (path) => open(browser, server.url + path, look);

    test(`Talk (${look.name})`, async () => {
      const page = await on('/');
      await first(page, 'voice-chooser');
      await page.locator('[data-testid="voice-chooser"]:enabled').waitFor();
      await assertSound(page, `page-talk-${look.name}`);
      if (!deep) return page.context().close();
      await page.evaluate(() => sessionStorage.setItem('avatar.talk', JSON.stringify({ conversation: 'c', token: 't', at: Date.now() })));
      await page.reload();
      await first(page, 'broken-talk');
      await assertSound(page, `page-talk-broken-${look.name}`);
      await page.context().close();
    });

    test(`History (${look.name})`, async () => {
      const page = await on('/history');
      await first(page, 'history-item');
      await assertSound(page, `page-history-${look.name}`);
      await page.getByTestId('search').fill(deep ? '天氣' : 'bread');
      await first(page, 'match');
      await assertSound(page, `page-history-search-${look.name}`);
      await page.goto(`${server.url}/history/conv_00060`);
      await first(page, 'recorded-turn');
      await page.getByTestId('timings').first().locator('summary').click();
      await assertSound(page, `page-conversation-${look.name}`);
      if (!deep) return page.context().close();
      await page.getByTestId('edit-user').first().click();
      await first(page, 'edit');
      await assertSound(page, `page-conversation-edit-${look.name}`);
      await page.keyboard.press('Escape');
      await page.getByTestId('conversation-menu').click();
      await first(page, 'conversation-menu-delete');
      await assertSound(page, `page-conversation-menu-${look.name}`);
      await page.getByTestId('conversation-menu-delete').click();
      await first(page, 'confirm');
      await assertSound(page, `page-conversation-delete-${look.name}`);
      await page.context().close();
    });

    test(`Voices (${look.name})`, async () => {
      const page = await on('/voices');
      await first(page, 'voice');
      await assertSound(page, `page-voices-${look.name}`);
      await page.getByTestId('open-add').click();
      await page.getByTestId('record-start').click();
      await first(page, 'record-level');
      await page.waitForFunction(() => Number(document.querySelector('[data-testid="record-level"]')?.getAttribute('aria-valuenow')) > 0);
      await assertSound(page, `page-voices-recording-${look.name}`);
      if (!deep) return page.context().close();
      await page.getByTestId('record-stop').click();
      await first(page, 'play-recording');
      await page.getByTestId('way-upload').click();
      await assertSound(page, `page-voices-upload-${look.name}`);
      await page.context().close();
    });

    test(`Status (${look.name})`, async () => {
      const page = await on('/status');
      await first(page, 'engine');
      await assertSound(page, `page-status-${look.name}`);
      await page.context().close();
    });
  }
});
