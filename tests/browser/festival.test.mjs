// The second voice, Festival's, in a talk of its own: it is far clearer, so more is demanded of it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Server } from './server.mjs';
import { assertHeard, assertUnderstood, REPLY_TOKENS, talk } from './talk.mjs';

const VOICE = 'festival/slt-hts';
const PHRASES = ['talking-about', 'everything-and-nothing', 'in-short', 'best-and-worst'];

describe('a talk with the voice of Festival', () => {
  let server;
  let done;
  before(async () => {
    server = await Server.start({ AVATAR_SESSION_VOICE: VOICE, AVATAR_SESSION_MAX_REPLY_TOKENS: String(REPLY_TOKENS) });
    done = await talk(server, PHRASES);
  });
  after(async () => {
    await done?.browser.close();
    await server?.stop();
  });

  test('every phrase is one turn, understood and answered, by that voice', async () => {
    assertUnderstood(done, 0.1);
    const { turns } = await server.json(`/api/conversations/${done.conversation}`);
    assert.deepEqual(turns.map(({ voice }) => voice), PHRASES.map(() => VOICE));
  });

  test('the reply in the page is whole and says its text', async (t) => {
    const rate = await assertHeard(server, done, { limit: 0.12, voice: VOICE });
    t.diagnostic(`word-error rate of the replies: ${(100 * rate).toFixed(1)} %`);
  });
});
