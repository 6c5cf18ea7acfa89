// While the server loads its models the page says how far it is, offers no call, and goes ready by itself.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, open, screenshot } from './browser.mjs';
import { Server } from './server.mjs';

const models = (percent) => ({
  vad: { name: 'silero-v6', state: 'ready' },
  stt: { name: 'moonshine', state: 'warming_up' },
  llm: { name: 'smollm2', state: 'loading', percent },
});
const loading = (percent) => ({
  status: 503,
  json: { status: 'loading', percent, models: models(percent), calls: { active: 0, limit: 5 } },
});

const PAGES = [
  { locale: 'en-US', shown: '62 % loaded' },
  { locale: 'zh-TW', shown: '已載入 62%' },
];

describe('a server that is loading', () => {
  let server;
  let browser;
  before(async () => {
    [server, browser] = await Promise.all([Server.start(), launch()]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const { locale, shown } of PAGES) {
    test(`is shown with its progress until it is ready (${locale})`, async () => {
      const page = await open(browser, 'about:blank', { locale });
      // What the real server says first lasts too short to be looked at.
      let said = loading(62);
      await page.route('**/health', (route) => (said === null ? route.continue() : route.fulfill(said)));
      await page.goto(server.url);
      const bar = page.getByRole('progressbar');
      await bar.waitFor();
      assert.equal(await bar.getAttribute('aria-valuenow'), '62');
      assert.equal((await page.getByTestId('loading').innerText()).trim(), shown);
      const button = page.getByTestId('talk-button');
      assert.equal(await button.getAttribute('aria-disabled'), 'true');
      await button.click({ force: true });
      assert.equal(await button.getAttribute('data-state'), 'loading');
      await screenshot(page, `loading-${locale}`);
      await page.getByTestId('status').click();
      await screenshot(page, `loading-status-${locale}`);

      said = loading(90);
      await page.locator('[role="progressbar"][aria-valuenow="90"]').waitFor();
      said = null;
      await page.locator('[data-testid="talk-button"][data-state="idle"]').waitFor();
      assert.equal(await bar.count(), 0);
      assert.deepEqual(page.faults, []);
      await page.context().close();
    });
  }
});
