// A talk with the real server, and everything that can be done with it afterwards: heard in the better voice without a reload, found,
// corrected, renamed, saved, deleted.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { call, events, hangUp, launch, listenUntil, open, screenshot } from './browser.mjs';
import { scratch, Server } from './server.mjs';
import { microphone, RATE, utterances } from './speech.mjs';
import { conversationOf, replies, transcripts } from './turns.mjs';
import { writeWav } from './wav.mjs';

const PATIENCE_MS = 90_000;

describe('a talk in the history', () => {
  let server;
  let browser;
  let page;
  let conversation;
  let said;
  before(async () => {
    const file = join(scratch(), 'microphone.wav');
    writeWav(file, microphone(utterances(['talking-about']), { lead: 6, gap: 30 }), RATE);
    [server, browser] = await Promise.all([Server.start({ AVATAR_SESSION_MAX_REPLY_TOKENS: '24' }), launch({ microphone: file })]);
    page = await open(browser, server.url);
    await call(page);
    const over = (seen) => replies(seen).some(({ stoppedAt }) => stoppedAt !== null);
    const seen = await listenUntil(page, over, PATIENCE_MS);
    assert.ok(over(seen), 'no reply came');
    conversation = conversationOf(await events(page));
    said = transcripts(seen)[0].text;
    await hangUp(page);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test('is made in the better voice while the page looks on, and both recordings play', async () => {
    await page.getByTestId('nav-history').click();
    await page.locator(`[data-testid="history-item"][href$="${conversation}"]`).click();
    const better = page.getByTestId('play-hq');
    await better.waitFor({ timeout: PATIENCE_MS });
    await screenshot(page, 'history-better');
    for (const take of ['play-assistant', 'play-hq']) {
      await page.getByTestId(take).click();
      await page.waitForFunction(
        (testid) => document.querySelector(`[data-testid="${testid}"]`).parentElement.querySelector('audio').currentTime > 0.2,
        take,
        { timeout: 30_000 },
      );
    }
    assert.deepEqual(page.faults, []);
  });

  test('is found by what was said, with the words marked', async () => {
    const word = said.split(/\W+/).reduce((longest, one) => (one.length > longest.length ? one : longest), '');
    await page.getByTestId('search').fill(word.toLowerCase());
    const hit = page.getByTestId('match').locator('mark').first();
    await hit.waitFor();
    assert.equal((await hit.innerText()).toLowerCase(), word.toLowerCase());
    await page.getByTestId('search').fill('');
  });

  test('is corrected and the correction taken back, renamed, saved and deleted', async () => {
    const row = page.getByTestId('recorded-turn').first();
    await row.getByTestId('edit-user').click();
    await page.getByTestId('edit-text').fill('What were you talking about?');
    await page.getByTestId('edit-save').click();
    await row.getByTestId('original').waitFor();
    const { turns } = await server.json(`/api/conversations/${conversation}`);
    assert.equal(turns[0].user.text, 'What were you talking about?');
    assert.equal(turns[0].user.original, said);
    await page.getByTestId('toast-action').click();
    await row.getByTestId('original').waitFor({ state: 'detached' });
    assert.equal((await server.json(`/api/conversations/${conversation}`)).turns[0].user.text, said);

    await page.getByTestId('conversation-menu').click();
    await page.getByTestId('conversation-menu-rename').click();
    await page.getByTestId('rename-text').fill('什麼話題');
    await page.getByTestId('rename-text').press('Enter');
    await page.getByTestId('conversation-title').getByText('什麼話題').waitFor();
    await page.locator(`[data-testid="history-item"][href$="${conversation}"]`).getByText('什麼話題').waitFor();

    const save = async (item) => {
      const saved = page.waitForEvent('download');
      await page.getByTestId('conversation-menu').click();
      await page.getByTestId(`conversation-menu-${item}`).click();
      return readFileSync(await (await saved).path());
    };
    const kept = JSON.parse((await save('json')).toString('utf8'));
    assert.ok(JSON.stringify(kept).includes(said), 'what was said is not in the file');
    assert.equal((await save('audio')).toString('latin1', 0, 4), 'OggS');

    await page.getByTestId('conversation-menu').click();
    await page.getByTestId('conversation-menu-delete').click();
    await page.getByTestId('confirm-do').click();
    await page.waitForFunction((id) => document.querySelector(`[data-testid="history-item"][href$="${id}"]`) === null, conversation);
    assert.equal((await fetch(`${server.url}/api/conversations/${conversation}`)).status, 404);
    assert.deepEqual(page.faults, []);
  });
});
