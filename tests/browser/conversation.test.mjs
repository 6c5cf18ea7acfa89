// A whole talk in Chromium with a human voice as its microphone, and what is left of it afterwards.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { hangUp, open, screenshot } from './browser.mjs';
import { Server } from './server.mjs';
import { assertHeard, assertUnderstood, REPLY_TOKENS, talk } from './talk.mjs';
import { replies, transcripts } from './turns.mjs';

const PHRASES = [
  'talking-about',
  'best-and-worst',
  'hope-and-despair',
  'in-short',
  'everything-and-nothing',
  'incredulity',
  'the-ditch',
  'foolishness',
];

describe('a talk', () => {
  let server;
  let done;
  before(async () => {
    server = await Server.start({ AVATAR_SESSION_MAX_REPLY_TOKENS: String(REPLY_TOKENS) });
    done = await talk(server, PHRASES, { shots: 'talk' });
  });
  after(async () => {
    await done?.browser.close();
    await server?.stop();
  });

  test('every phrase is one turn, understood and answered', (t) => {
    const rate = assertUnderstood(done, 0.1);
    t.diagnostic(`word-error rate of ${PHRASES.length} phrases: ${(100 * rate).toFixed(1)} %`);
    assert.deepEqual(done.page.faults, []);
  });

  test('the reply in the page is whole and says its text', async (t) => {
    const rate = await assertHeard(server, done, { limit: 0.25 });
    t.diagnostic(`word-error rate of the replies: ${(100 * rate).toFixed(1)} %`);
  });

  test('both sides stand in the page, with the time the last answer took', async () => {
    const { page, events } = done;
    assert.equal(await page.getByTestId('turn-user').count(), PHRASES.length);
    assert.equal(await page.getByTestId('turn-assistant').count(), PHRASES.length);
    const shown = await page.getByTestId('transcript').innerText();
    for (const { text } of [...transcripts(events), ...replies(events)]) {
      assert.ok(shown.includes(text.trim()), `"${text}" is not on the page`);
    }
    assert.match(await page.getByTestId('voice-to-voice').innerText(), /^[\d,.]+$/);
    const stages = events.filter(({ event }) => event.type === 'avatar.turn.timings').map(({ event }) => event.stages);
    assert.equal(stages.length, PHRASES.length);
    for (const stage of stages) assert.ok(stage.first_packet_ms > 0, JSON.stringify(stage));
  });

  test('a turn is answered in the light of those before it', () => {
    const usages = replies(done.events).map(({ usage }) => usage);
    usages.slice(1).forEach((usage, i) => {
      assert.ok(usage.input_tokens > usages[i].input_tokens, `turn ${i + 2} read ${usage.input_tokens} tokens, the one before ${usages[i].input_tokens}`);
      assert.ok(usage.input_token_details.cached_tokens > 0, `turn ${i + 2} read the whole conversation again`);
    });
  });

  test('after a reload and a killed server the talk is in the history and plays', async () => {
    const { page, events, conversation } = done;
    await hangUp(page);
    await page.reload();
    await server.kill();
    await server.start();

    const { turns } = await server.json(`/api/conversations/${conversation}`);
    assert.deepEqual(turns.map(({ user }) => user.text), transcripts(events).map(({ text }) => text));
    assert.deepEqual(turns.map(({ assistant }) => assistant.text), replies(events).map(({ text }) => text));

    const again = await open(done.browser, `${server.url}/history`);
    // A busy machine's replies are asked for again, in talks of their own: this one need not be the newest.
    const item = again.locator(`[data-testid="history-item"][href$="${conversation}"]`);
    await item.waitFor();
    assert.match(await item.innerText(), new RegExp(`\\b${PHRASES.length}\\b`));
    await item.click();
    const recorded = again.getByTestId('recorded-turn');
    await recorded.first().waitFor();
    assert.equal(await recorded.count(), PHRASES.length);
    await screenshot(again, 'history');
    for (const side of ['user', 'assistant']) {
      await recorded.first().getByTestId(`play-${side}`).click();
      const which = { user: 0, assistant: 1 }[side];
      const played = await again.waitForFunction(
        (index) => {
          const audio = document.querySelectorAll('[data-testid="recorded-turn"] audio')[index];
          return audio.currentTime > 0.3 && audio.duration > 0.5 && { duration: audio.duration };
        },
        which,
        { timeout: 30_000 },
      );
      const { duration } = await played.jsonValue();
      const stored = turns[0][side].duration_ms / 1000;
      assert.ok(Math.abs(duration - stored) < 0.5, `${side}: ${duration} s play, ${stored} s are stored`);
    }
    await again.close();
  });
});
