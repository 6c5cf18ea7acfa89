// Every page with the keyboard alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, open } from './browser.mjs';
import { MockServer } from './mock-server.mjs';
import { tabTo } from './pages.mjs';

const focusOn = (page, testid) => page.waitForFunction((wanted) => document.activeElement?.getAttribute('data-testid') === wanted, testid);

/** Opens the menu that has the focus and chooses in it; a busy browser moves the focus a moment after the key. */
async function choose(page, menu, item, key) {
  await page.keyboard.press('Enter');
  await page.locator('[role="menuitem"][data-highlighted]').waitFor();
  if (key !== undefined) await page.keyboard.press(key);
  await focusOn(page, `${menu}-${item}`);
  await page.keyboard.press('Enter');
}

describe('somebody without a mouse', () => {
  let server;
  let browser;
  before(async () => {
    [server, browser] = await Promise.all([MockServer.start({ count: 60 }), launch()]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test('finds a conversation, reads it, corrects it, renames it and deletes it', async () => {
    const page = await open(browser, server.url);
    await tabTo(page, 'nav-history');
    await page.keyboard.press('Enter');
    await page.getByTestId('history-item').first().waitFor();
    await tabTo(page, 'search');
    await page.keyboard.type('bread');
    await page.getByTestId('match').first().waitFor();
    await tabTo(page, 'history-item');
    await page.keyboard.press('Enter');
    await page.getByTestId('conversation-title').waitFor();
    await focusOn(page, 'conversation-title');

    await tabTo(page, 'edit-user');
    await page.keyboard.press('Enter');
    await focusOn(page, 'edit-text');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('Why does bread rise?');
    await page.keyboard.press('Control+Enter');
    await page.getByTestId('original').waitFor();
    assert.equal(server.conversations[2].turns[0].user.text, 'Why does bread rise?');
    assert.match(server.conversations[2].turns[0].user.original, /as if I were ten/);

    await tabTo(page, 'conversation-menu', { back: true });
    await choose(page, 'conversation-menu', 'rename');
    await focusOn(page, 'rename-text');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('Bread');
    await page.keyboard.press('Enter');
    await page.getByTestId('conversation-title').getByText('Bread', { exact: true }).waitFor();
    assert.equal(server.conversations[2].title, 'Bread');

    await tabTo(page, 'conversation-menu');
    await choose(page, 'conversation-menu', 'delete', 'End');
    // The harmless choice has the focus.
    await page.waitForFunction(() => document.activeElement?.closest('[data-testid="confirm"]') !== null && document.activeElement?.tagName === 'BUTTON');
    await page.keyboard.press('Enter');
    await page.getByTestId('confirm').waitFor({ state: 'detached' });
    assert.equal(server.conversations.length, 60);
    await tabTo(page, 'conversation-menu', { back: true });
    await choose(page, 'conversation-menu', 'delete', 'End');
    await page.getByTestId('confirm').waitFor();
    await tabTo(page, 'confirm-do');
    await page.keyboard.press('Enter');
    await page.getByTestId('confirm').waitFor({ state: 'detached' });
    assert.equal(server.conversations.length, 59);
    assert.equal(new URL(page.url()).pathname, '/history');
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  test('goes through the list with the arrow keys, far beyond what is in sight', async () => {
    const page = await open(browser, `${server.url}/history`);
    await page.getByTestId('history-item').first().focus();
    for (let i = 0; i < 30; i += 1) {
      await page.keyboard.press('ArrowDown');
      await page.waitForFunction((index) => document.activeElement?.closest('[data-index]')?.getAttribute('data-index') === String(index), i + 1);
    }
    await page.keyboard.press('Home');
    await page.waitForFunction(() => document.activeElement?.closest('[data-index]')?.getAttribute('data-index') === '0');
    await page.context().close();
  });

  test('adds a voice and talks with it', async () => {
    const page = await open(browser, `${server.url}/voices`);
    await page.getByTestId('voice').first().waitFor();
    await tabTo(page, 'open-add');
    await page.keyboard.press('Enter');
    await tabTo(page, 'way-record');
    await page.keyboard.press('ArrowRight');
    await page.getByTestId('file').setInputFiles({ name: 'me.wav', mimeType: 'audio/wav', buffer: Buffer.alloc(2_000, 1) });
    await tabTo(page, 'voice-name');
    await page.keyboard.type('My own');
    await tabTo(page, 'consent');
    await page.keyboard.press('Space');
    await tabTo(page, 'send-voice');
    await page.keyboard.press('Enter');
    await page.getByText('My own is added.').waitFor();
    assert.equal(server.voices[0].name, 'My own');
    server.voices[0].state = 'ready';
    await server.tell('voice', { id: server.voices[0].id, state: 'ready' });
    await page.locator('[data-testid="voice"][data-state="ready"]').filter({ hasText: 'My own' }).waitFor();
    await page.getByTestId('nav-voices').focus();
    await tabTo(page, 'use-voice');
    await page.keyboard.press('Enter');
    await page.locator('[data-testid="voice"][data-in-use="true"]').filter({ hasText: 'My own' }).waitFor();
    await tabTo(page, 'nav-talk', { back: true });
    await page.keyboard.press('Enter');
    const chooser = page.getByTestId('voice-chooser');
    assert.equal(await chooser.inputValue(), server.voices[0].voice);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  test('starts a call, is told why there is none, and closes the message', async () => {
    server.failures = [[/POST \/v1\/realtime\/calls/, { status: 503, code: 'too_many_calls', message: 'busy', retryAfter: 9 }]];
    const withMicrophone = await launch({ microphone: '/dev/null' });
    try {
      const page = await open(withMicrophone, server.url);
      await tabTo(page, 'talk-button');
      await page.keyboard.press('Enter');
      await page.locator('[data-testid="failure"][data-kind="full"]').waitFor();
      await tabTo(page, 'try-again');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await page.getByTestId('failure').waitFor({ state: 'detached' });
      await page.context().close();
    } finally {
      server.failures = [];
      await withMicrophone.close();
    }
  });

  test('looks at the server from its badge', async () => {
    const page = await open(browser, server.url);
    await tabTo(page, 'status');
    await page.keyboard.press('Enter');
    await tabTo(page, 'status-more');
    await page.keyboard.press('Enter');
    await page.getByTestId('engine').first().waitFor();
    assert.equal(await page.getByTestId('status-more').isVisible(), false);
    await page.context().close();
  });
});
