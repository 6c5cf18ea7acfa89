// A talk that survives: a killed server, a network that goes away for a moment, a page that is loaded anew.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, events, hangUp, launch, listenUntil, open, screenshot } from './browser.mjs';
import { scratch, Server } from './server.mjs';
import { microphone, RATE, utterances } from './speech.mjs';
import { conversationOf, replies, transcripts } from './turns.mjs';
import { writeWav } from './wav.mjs';

/** From the press on the button to the open call; Chromium starts the file at the press. */
const LEAD_SECONDS = 6;
const PATIENCE_MS = 60_000;

describe('a talk that survives', () => {
  let server;
  let browser;
  let page;
  before(async () => {
    server = await Server.start({ AVATAR_SESSION_MAX_REPLY_TOKENS: '60' });
  });
  after(() => server?.stop());
  // The microphone plays from its beginning in each browser.
  beforeEach(async () => {
    const file = join(scratch(), 'microphone.wav');
    writeWav(file, microphone(utterances(['talking-about', 'in-short']), { lead: LEAD_SECONDS, gap: 40 }), RATE);
    browser = await launch({ microphone: file });
    page = await open(browser, server.url);
    await call(page);
    await listenUntil(page, (seen) => replies(seen).some(({ startedAt }) => startedAt !== null), PATIENCE_MS);
  });
  afterEach(() => browser?.close());

  const state = (wanted) => page.locator(`[data-testid="connection-state"][data-state="${wanted}"]`).waitFor({ timeout: PATIENCE_MS });
  const of = (seen, type) => seen.filter(({ event }) => event.type === type).map(({ event }) => event);
  const resumed = async () => {
    const seen = await listenUntil(page, (seen) => of(seen, 'avatar.session.resumed').length > 0, PATIENCE_MS);
    assert.equal(of(seen, 'avatar.session.resumed').length, 1, 'the talk did not go on');
    return seen;
  };

  test('a server that was killed in mid-reply and started again goes on with it', async () => {
    const conversation = conversationOf(await events(page));
    await server.kill();
    await state('reconnecting');
    await screenshot(page, 'surviving-reconnecting');
    await server.start();
    const seen = await resumed();
    await state('live');
    assert.equal(of(seen, 'avatar.session.resumed')[0].conversation_id, conversation);
    const [{ text }] = transcripts(seen);
    assert.ok((await page.getByTestId('transcript').innerText()).includes(text), 'what was said is gone from the page');
    assert.deepEqual(page.faults, []);
    await hangUp(page);
  });

  test('five seconds offline in mid-reply end no reply', async () => {
    const asked = [];
    page.on('request', (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
    await page.context().setOffline(true);
    // The length of the outage is what is tested; nothing is waited for.
    await sleep(5_000);
    await page.context().setOffline(false);
    const seen = await listenUntil(page, (seen) => replies(seen)[0]?.stoppedAt !== null, PATIENCE_MS);
    assert.equal(replies(seen)[0].status, 'completed');
    await state('live');
    // Back online, another path was looked for at once.
    assert.ok(asked.some((request) => /^PATCH \/v1\/realtime\/calls\//.test(request)), asked.join('\n'));
    assert.deepEqual(page.faults, []);
    await hangUp(page);
  });

  test('a page that is loaded anew offers to go on, and does, in the same conversation', async () => {
    const before = await events(page);
    await page.reload();
    await page.getByTestId('broken-talk').waitFor();
    await screenshot(page, 'surviving-reloaded');
    await page.getByTestId('go-on').click();
    await state('live');
    const seen = await listenUntil(page, (seen) => of(seen, 'session.created').length > 0, PATIENCE_MS);
    assert.equal(conversationOf(seen), conversationOf(before));
    const [{ text }] = transcripts(before);
    await page.getByTestId('transcript').getByText(text).waitFor();
    assert.deepEqual(page.faults, []);
    await hangUp(page);
    await page.reload();
    await page.locator('[data-testid="talk-button"][data-state="idle"]').waitFor();
    assert.equal(await page.getByTestId('broken-talk').count(), 0);
  });
});
