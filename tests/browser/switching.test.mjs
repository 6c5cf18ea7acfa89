// A browser whose network changes in mid-reply: another address, another cable, none at all for five seconds. The talk goes on, and
// how much of it was lost is told.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, EXECUTABLE, hangUp, launch, listenUntil, open } from './browser.mjs';
import { Network, withoutNamespaces } from './network.mjs';
import { scratch, Server } from './server.mjs';
import { microphone, RATE, utterances } from './speech.mjs';
import { conversationOf, replies } from './turns.mjs';
import { writeWav } from './wav.mjs';

/** From the press on the button to the open call; Chromium starts the file at the press. */
const LEAD_SECONDS = 6;
const PATIENCE_MS = 60_000;
const KEY = 'a-key-for-the-browser-tests-0123456789';

/** In the page: when a packet of the server came, looked at every 20 ms, and the address that is called from. */
function watchPackets() {
  // A call that goes on has a document of its own in the page's.
  const outer = window.parent;
  outer.__peers ??= [];
  const peers = outer.__peers;
  const Peer = RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    constructor(...arguments_) {
      super(...arguments_);
      peers.push(this);
    }
  };
  if (outer !== window) return;
  const watched = { times: [], address: null };
  window.__packets = watched;
  const counts = new Map();
  const look = async () => {
    for (const peer of peers) {
      if (peer.connectionState === 'closed') continue;
      const reports = [...(await peer.getStats()).values()];
      const count = reports.find(({ type }) => type === 'inbound-rtp')?.packetsReceived ?? 0;
      if (count > (counts.get(peer) ?? 0)) {
        watched.times.push(performance.now());
        const pair = reports.find(({ id }) => id === reports.find(({ type }) => type === 'transport')?.selectedCandidatePairId);
        watched.address = reports.find(({ id }) => id === pair?.localCandidateId)?.address ?? null;
      }
      counts.set(peer, count);
    }
    setTimeout(look, 20);
  };
  void look();
}

const cannot = await withoutNamespaces();

describe('a talk whose network changes', { skip: cannot ?? false }, () => {
  let network;
  let server;
  let browser;
  let page;
  before(async () => {
    // Its certificate is its own.
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    network = await Network.make();
    const settings = { AVATAR_SESSION_MAX_REPLY_TOKENS: '80', AVATAR_API_KEYS: KEY, AVATAR_TLS_MODE: 'auto' };
    server = await Server.start(settings, { host: network.server, scheme: 'https' });
  });
  after(async () => {
    await server?.stop();
    await network?.remove();
  });
  beforeEach(async () => {
    await network.unplug(1);
    await network.plugIn(0);
    const file = join(scratch(), 'microphone.wav');
    writeWav(file, microphone(utterances(['talking-about']), { lead: LEAD_SECONDS, gap: 60 }), RATE);
    browser = await launch({ microphone: file, executable: network.wrap(EXECUTABLE) });
    page = await open(browser, server.url, { key: KEY, before: watchPackets });
    await call(page);
    await listenUntil(page, (seen) => replies(seen).some(({ startedAt }) => startedAt !== null), PATIENCE_MS);
  });
  afterEach(() => browser?.close());

  /** The network changes in mid-reply; how long nothing came, in ms. */
  async function change(how) {
    const [before] = replies(await page.evaluate(() => window.__avatar.events));
    const since = await page.evaluate(() => performance.now());
    const asked = [];
    const note = (what) => (request) => asked.push(`${((Date.now() - begun) / 1000).toFixed(2)} s ${what} ${request.method()} ${new URL(request.url()).pathname}`);
    const begun = Date.now();
    page.on('request', note('asked'));
    page.on('requestfailed', note('failed'));
    page.on('response', (response) => note(response.status())(response.request()));
    await how();
    const over = ({ status, stoppedAt }) => status !== 'unfinished' && stoppedAt !== null;
    const seen = await listenUntil(page, (seen) => replies(seen).some(over), PATIENCE_MS);
    const [reply] = replies(seen);
    const { times, address } = await page.evaluate(() => window.__packets);
    const after = times.filter((at) => at >= since);
    const gap = after.reduce((longest, at, i) => Math.max(longest, i === 0 ? 0 : at - after[i - 1]), 0);
    assert.ok(after.length > 50, `nothing came after the change:\n${asked.join('\n')}`);
    assert.deepEqual({ id: reply.id, status: reply.status }, { id: before.id, status: 'completed' }, asked.join('\n'));
    assert.ok(reply.stoppedAt > since + gap, 'the reply was over before anything was lost');
    assert.equal(new Set(seen.filter(({ event }) => event.type === 'session.created').map(({ event }) => conversationOf([{ event }]))).size, 1);
    await page.locator('[data-testid="connection-state"][data-state="live"]').waitFor({ timeout: PATIENCE_MS });
    assert.deepEqual(page.faults, []);
    await hangUp(page);
    return { gap, address, asked };
  }

  const told = (test, { gap, asked }) => test.diagnostic([`nothing came for ${Math.round(gap)} ms`, ...asked].join('\n'));

  test('is heard on from another address', async (t) => {
    const done = await change(() => network.renumber());
    told(t, done);
    assert.equal(done.address, '10.213.1.3');
  });

  test('is heard on over another cable', async (t) => {
    const done = await change(async () => {
      await network.unplug(0);
      await network.plugIn(1);
    });
    told(t, done);
    assert.equal(done.address, '10.213.2.2');
  });

  test('is heard on over the same cable after five seconds without any', async (t) => {
    const done = await change(async () => {
      await network.unplug(0);
      // The length of the outage is what is tested; nothing is waited for.
      await sleep(5_000);
      await network.plugIn(0);
    });
    told(t, done);
    assert.ok(done.gap >= 4_000, `it was no outage: ${done.gap} ms`);
  });
});
