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
    server = await Server.start({ AVATAR_SESSION_MAX_REPLY_TOKENS: '60', AVATAR_SESSION_RESUME_SECONDS: '120' });
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
  const callsAre = async (wanted) => {
    const active = async () => (await server.json('/api/status')).calls.active;
    for (const limit = Date.now() + PATIENCE_MS; (await active()) !== wanted; await sleep(100)) {
      assert.ok(Date.now() < limit, `the server has ${await active()} calls, not ${wanted}`);
    }
  };
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

  test('a page that is loaded anew in mid-reply goes on with the reply, and with none after the user hung up', async () => {
    const before = await events(page);
    const [reply] = replies(before);
    await page.reload();
    await page.getByTestId('broken-talk').waitFor();
    await screenshot(page, 'surviving-reloaded');
    await page.getByTestId('go-on').click();
    await state('live');
    // Its microphone plays from the beginning once more.
    await page.getByTestId('mute').click();
    const over = ({ status, stoppedAt }) => status !== 'unfinished' && stoppedAt !== null;
    const seen = await listenUntil(page, (seen) => replies(seen).some(over), PATIENCE_MS);
    const [again] = of(seen, 'avatar.session.resumed');
    assert.deepEqual(
      { conversation: again?.conversation_id, from: again?.from, reply: again?.response_id },
      { conversation: conversationOf(before), from: 'memory', reply: reply.id },
    );
    const [rest] = replies(seen);
    assert.deepEqual({ id: rest.id, status: rest.status }, { id: reply.id, status: 'completed' });
    assert.ok(rest.startedAt !== null, 'the rest of it was not heard');
    const [{ text }] = transcripts(before);
    await page.getByTestId('transcript').getByText(text).waitFor();
    await page.getByTestId('transcript').getByText(rest.text).waitFor();
    assert.equal((await server.json(`/api/conversations/${conversationOf(before)}`)).turns.length, 1);
    assert.deepEqual(page.faults, []);

    assert.equal(await page.evaluate(() => localStorage.getItem('avatar.talk')), null);
    await hangUp(page);
    assert.equal(await page.evaluate(() => sessionStorage.getItem('avatar.talk')), null);
    await callsAre(0);
    await page.reload();
    await page.locator('[data-testid="talk-button"][data-state="idle"]').waitFor();
    assert.equal(await page.getByTestId('broken-talk').count(), 0);
  });

  test('a talk that the user does not go on with is over at the server too', async () => {
    await page.reload();
    await page.getByTestId('broken-talk').waitFor();
    await callsAre(1);
    await page.getByTestId('let-go').click();
    await page.getByTestId('broken-talk').waitFor({ state: 'detached' });
    await callsAre(0);
    assert.deepEqual(page.faults, []);
  });
});
