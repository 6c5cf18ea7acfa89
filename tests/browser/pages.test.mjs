// History, Voices and Status against a double of the server: long lists, slow answers, refusals, news that come by themselves.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { launch, open } from './browser.mjs';
import { MockServer } from './mock-server.mjs';
import { READING } from './mock-data.mjs';
import { join } from 'node:path';
import { scratch } from './server.mjs';
import { RATE } from './speech.mjs';
import { silence, writeWav } from './wav.mjs';

let browser;
let server;
let page;

before(async () => {
  const microphone = join(scratch(), 'microphone.wav');
  writeWav(microphone, silence(20, RATE), RATE);
  browser = await launch({ microphone });
});
after(() => browser?.close());
beforeEach(async () => {
  server = await MockServer.start({ count: 60 });
});
afterEach(async () => {
  await page?.context().close();
  page = undefined;
  await server.stop();
});

const on = async (path, look) => (page = await open(browser, server.url + path, look));
const first = (testid) => page.getByTestId(testid).first().waitFor();
const fails = (pattern, failure) => (server.failures = [[pattern, failure]]);
const SAMPLE = { name: 'me.wav', mimeType: 'audio/wav', buffer: Buffer.alloc(200_000, 1) };

describe('History', () => {
  test('of a thousand conversations holds few in the page, and reaches the last', async () => {
    await server.stop();
    server = await MockServer.start({ count: 1_000 });
    await on('/history');
    await first('history-item');
    const reached = await page.evaluate(async () => {
      const list = document.querySelector('[data-testid="history-list"] ul').parentElement;
      const seen = () => [...list.querySelectorAll('li')].map((item) => Number(item.getAttribute('aria-posinset')));
      let most = 0;
      for (let steps = 0; steps < 5_000; steps += 1) {
        list.scrollTop = list.scrollHeight;
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        most = Math.max(most, list.querySelectorAll('li').length);
        if (Math.max(...seen()) === 1_000) return most;
      }
      throw new Error(`the list ends at ${Math.max(...seen())}`);
    });
    assert.ok(reached < 60, `${reached} rows were in the page at once`);
    await page.getByTestId('load-more').waitFor({ state: 'detached' });
    // The oldest is there and opens.
    await page.getByTestId('history-item').last().click();
    await first('recorded-turn');
    assert.match(page.url(), /conv_00001$/);
  });

  test('finds what was said and marks it, in either language', async () => {
    await on('/history');
    await first('history-item');
    for (const [q, said] of [
      ['bread', /Explain why bread rises/],
      ['合歡山', /週末去合歡山會不會下雨/],
    ]) {
      await page.getByTestId('search').fill(q);
      const hit = page.getByTestId('match').locator('mark');
      await hit.filter({ hasText: q }).first().waitFor();
      assert.match(await page.getByTestId('match').first().innerText(), said);
      assert.equal(await page.getByTestId('history-item').count(), 1);
    }
    await page.getByTestId('search').fill('zzzz');
    await first('nothing-found');
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.querySelectorAll('[data-testid="history-item"]').length > 5);
  });

  test('shows no answer to an older question, and no emptiness before an answer has come', async () => {
    const release = server.hold(/GET \/api\/conversations$/);
    await on('/history');
    await page.getByTestId('history-list').getByText('Loading…').waitFor({ state: 'attached' });
    assert.equal(await page.getByTestId('history-empty').count(), 0);
    release();
    await first('history-item');
    const late = server.hold(/GET \/api\/conversations$/);
    const asked = page.waitForRequest(/q=bread/);
    await page.getByTestId('search').fill('bread');
    await asked;
    await page.getByTestId('search').fill('danzai');
    await page.waitForFunction(() => document.querySelector('[data-testid="history-list"] [data-stale="true"]') !== null);
    late();
    await page.getByTestId('match').filter({ hasText: 'danzai' }).first().waitFor();
    assert.equal(await page.getByTestId('match').filter({ hasText: 'bread' }).count(), 0);
  });

  test('plays the live and the better recording side by side', async () => {
    await on('/history/conv_00060');
    await first('play-hq');
    const turn = page.getByTestId('recorded-turn').first();
    for (const take of ['play-assistant', 'play-hq']) {
      await turn.getByTestId(take).click();
      await page.waitForFunction((testid) => {
        const audio = document.querySelector(`[data-testid="${testid}"]`).parentElement.querySelector('audio');
        return !audio.paused && audio.currentTime > 0.1;
      }, take);
    }
    // One at a time: the second has paused the first.
    assert.equal(await page.evaluate(() => [...document.querySelectorAll('audio')].filter((audio) => !audio.paused).length), 1);
    assert.ok(server.asked.some((call) => call.endsWith('quality=hq')));
  });

  test('shows a better recording the moment it is made, and why one could not be', async () => {
    await on('/history/conv_00060');
    await first('recorded-turn');
    const [, rendering, failed] = server.conversations[0].turns;
    const row = page.getByTestId('recorded-turn').nth(1);
    assert.equal(await row.getByTestId('hq-state').getAttribute('data-state'), 'rendering');
    assert.equal(await row.getByTestId('play-hq').count(), 0);
    rendering.assistant.hq = { state: 'ready', voice: 'slt 32 kHz', audio: rendering.assistant.audio.replace('fast', 'hq'), duration_ms: 900 };
    await server.tell('render', { conversation: 'conv_00060', turn: rendering.id, reply: rendering.assistant.item, state: 'ready' });
    await row.getByTestId('play-hq').waitFor();

    const other = page.getByTestId('recorded-turn').nth(2);
    await other.getByText('slt-hts could not be loaded').waitFor();
    await other.getByTestId('render').click();
    await other.locator('[data-testid="hq-state"][data-state="pending"]').waitFor();
    assert.equal(failed.assistant.hq.state, 'pending');
  });

  test('hears of titles and new talks without a reload, also after the stream broke', async () => {
    await on('/history');
    await first('history-item');
    server.conversations[0].title = 'Two days in the south';
    await server.tell('title', { conversation: 'conv_00060', title: 'Two days in the south' });
    await page.getByText('Two days in the south').waitFor();
    for (const stream of [...server.streams]) stream.end();
    const fresh = { ...structuredClone(server.conversations[1]), id: 'conv_fresh', title: 'Just now', created_at: new Date().toISOString() };
    server.conversations.unshift(fresh);
    await page.getByText('Just now').waitFor();
  });

  test('keeps a correction that could not be saved, and takes one back that was', async () => {
    await on('/history/conv_00060');
    const row = page.getByTestId('recorded-turn').first();
    await row.getByTestId('edit-user').click();
    await page.getByTestId('edit-text').fill('Two days in Tainan?');
    fails(/PATCH .*turns/, { status: 500 });
    await page.getByTestId('edit-save').click();
    await page.getByTestId('edit').getByRole('alert').waitFor();
    assert.equal(await page.getByTestId('edit-text').inputValue(), 'Two days in Tainan?');
    server.failures = [];
    await page.getByTestId('edit-save').click();
    await row.getByTestId('original').waitFor();
    assert.match(await row.getByTestId('turn-user').innerText(), /Two days in Tainan\?/);
    await page.getByTestId('toast-action').click();
    await row.getByTestId('original').waitFor({ state: 'detached' });
    assert.match(await row.getByTestId('turn-user').innerText(), /What should I not miss/);
    assert.equal(server.conversations[0].turns[0].user.original, undefined);
  });

  test('saves a conversation as JSON and as sound, under the server’s names', async () => {
    server.key = 'a-key-for-downloads';
    await on('/history/conv_00060');
    await page.getByTestId('key').fill('a-key-for-downloads');
    await page.getByTestId('key').press('Enter');
    await first('recorded-turn');
    for (const [item, name] of [
      ['json', 'conv_00060.json'],
      ['audio', 'conv_00060.ogg'],
    ]) {
      const saved = page.waitForEvent('download');
      await page.getByTestId('conversation-menu').click();
      await page.getByTestId(`conversation-menu-${item}`).click();
      assert.equal((await saved).suggestedFilename(), name);
    }
  });

  test('deletes only what the server has deleted', async () => {
    await on('/history/conv_00060');
    await first('recorded-turn');
    await page.getByTestId('conversation-menu').click();
    await page.getByTestId('conversation-menu-delete').click();
    fails(/DELETE/, { status: 500 });
    await page.getByTestId('confirm-do').click();
    await page.getByTestId('confirm').getByRole('alert').waitFor();
    assert.ok(await page.getByTestId('history-item').first().isVisible());
    server.failures = [];
    await page.getByTestId('confirm-do').click();
    await page.getByTestId('confirm').waitFor({ state: 'detached' });
    await page.getByText('The conversation is deleted.').waitFor();
    assert.equal(await page.getByTestId('history-item').filter({ hasText: 'A weekend in Tainan' }).count(), 0);
  });

  test('says in plain words that the server is away, and comes back by the button', async () => {
    fails(/\/api\/conversations/, { status: 502 });
    await on('/history', { locale: 'zh-TW' });
    await page.getByText('伺服器沒有回應').waitFor();
    server.failures = [];
    await page.getByTestId('retry').click();
    await first('history-item');
  });
});

describe('Voices', () => {
  /** Fills in all that a sample needs, by file. */
  async function fill(name) {
    await page.getByTestId('open-add').click();
    await page.getByTestId('way-upload').click();
    await page.getByTestId('file').setInputFiles(SAMPLE);
    await page.getByTestId('voice-name').fill(name);
    await page.getByTestId('consent').check();
  }

  for (const [locale, refusals, unknown] of [
    ['en-US', { too_short: /at least three seconds/, several_voices: /one voice alone/, too_noisy: /quieter place/, clipped: /distorted/, too_large: /25 MB/ }, /didn’t accept this: the moon is full/],
    ['zh-TW', { too_short: /至少需要三秒/, several_voices: /只有一個人/, too_noisy: /安靜的地方/, clipped: /失真/, too_large: /25 MB/ }, /沒有接受：the moon is full/],
  ]) {
    test(`say what to do about a sample that is refused (${locale})`, async () => {
      await on('/voices', { locale });
      await first('voice');
      await fill('Refused');
      for (const [code, words] of Object.entries({ ...refusals, odd_moon: unknown })) {
        fails(/POST \/api\/voice-profile$/, { status: 400, code, message: 'the moon is full' });
        await page.getByTestId('send-voice').click();
        const refusal = page.locator(`[data-testid="refusal"][data-code="${code}"]`);
        await refusal.waitFor();
        assert.match(await refusal.innerText(), words);
      }
      // What was filled in is still there.
      assert.equal(await page.getByTestId('voice-name').inputValue(), 'Refused');
    });
  }

  test('are recorded in the page, from a text in the page’s language', async () => {
    await on('/voices', { locale: 'zh-TW' });
    await first('voice');
    await page.getByTestId('open-add').click();
    await page.getByText(READING['zh-TW']).waitFor();
    await page.getByTestId('record-start').click();
    await first('record-level');
    await page.getByText('太小聲了').waitFor();
    await page.waitForFunction(() => /0:(0[4-9]|[12]\d)/.test(document.querySelector('[data-testid="add-voice"]').innerText));
    await page.getByTestId('record-stop').click();
    await first('play-recording');
    await page.getByTestId('voice-name').fill('阿明');
    assert.equal(await page.getByTestId('send-voice').isDisabled(), true);
    await page.getByTestId('consent').check();
    await page.getByTestId('send-voice').click();
    await page.locator('[data-testid="voice"][data-state="computing"]').filter({ hasText: '阿明' }).waitFor();
    assert.match(server.sample, /filename="recording\.webm"/);
    assert.match(server.sample, /name="consent"\r\n\r\ntrue/);
    assert.match(server.sample, /name="transcript"\r\n\r\n傍晚的火車/);
    assert.deepEqual(page.faults, []);
  });

  test('that are too short are not even sent', async () => {
    await on('/voices');
    await first('voice');
    await page.getByTestId('open-add').click();
    // However slow the machine: by the page's clock no time passes.
    await page.clock.setFixedTime(new Date());
    await page.getByTestId('record-start').click();
    await first('record-level');
    await page.getByTestId('record-stop').click();
    await first('play-recording');
    await page.getByTestId('voice-name').fill('Short');
    await page.getByTestId('consent').check();
    assert.equal(await page.getByTestId('send-voice').isDisabled(), true);
    await page.getByText('That was too short').waitFor();
  });

  test('show how far the sample has travelled, and can be called back', async () => {
    await on('/voices');
    await first('voice');
    await fill('Slow');
    const release = server.hold(/POST \/api\/voice-profile$/);
    await page.getByTestId('send-voice').click();
    await first('uploading');
    await page.getByText('Listening to the sample').waitFor();
    await page.getByTestId('uploading').getByRole('button').click();
    await page.getByTestId('send-voice').waitFor();
    assert.equal(await page.getByTestId('voice').filter({ hasText: 'Slow' }).count(), 0);
    release();
  });

  test('say that no engine can learn them, how to get one, and still take a sample', async () => {
    server.cloning = { available: false, engine: null, hint: 'avatar models pull pocket-tts', reading: READING };
    await on('/voices');
    const notice = page.getByTestId('no-cloning');
    await notice.waitFor();
    assert.match(await notice.innerText(), /avatar models pull pocket-tts/);
    await fill('Early');
    await page.getByTestId('send-voice').click();
    await page.locator('[data-testid="voice"][data-state="waiting"]').filter({ hasText: 'Early' }).waitFor();
  });

  test('are chosen, and the choice is forgotten with the voice', async () => {
    await on('/voices');
    const mine = page.getByTestId('voice').filter({ hasText: 'Mei' });
    await mine.getByTestId('use-voice').click();
    await mine.getByTestId('voice-in-use').waitFor();
    await page.reload();
    await mine.getByTestId('voice-in-use').waitFor();
    await mine.getByTestId('voice-menu').click();
    await page.getByTestId('voice-menu-delete').click();
    await page.getByTestId('confirm-do').click();
    await mine.waitFor({ state: 'detached' });
    await page.getByTestId('nav-talk').click();
    await page.locator('[data-testid="voice-chooser"]:enabled').waitFor();
    assert.equal(await page.getByTestId('voice-chooser').inputValue(), 'slt');
  });

  test('are renamed where they stand', async () => {
    await on('/voices');
    const mine = page.getByTestId('voice').filter({ hasText: 'Mei' });
    await mine.getByTestId('voice-menu').click();
    await page.getByTestId('voice-menu-rename').click();
    await page.getByTestId('voice-rename-text').fill('Mei-ling');
    await page.getByTestId('voice-rename-text').press('Enter');
    await page.getByRole('heading', { name: 'Mei-ling' }).waitFor();
    assert.equal(server.voices[0].name, 'Mei-ling');
  });
});

describe('Status', () => {
  test('moves while an engine loads', async () => {
    await on('/status');
    const bar = page.getByTestId('engine').getByRole('progressbar');
    await bar.waitFor();
    assert.equal(await bar.getAttribute('aria-valuenow'), '64');
    server.status.engines[5].percent = 91;
    await page.locator('[data-testid="engine"] [aria-valuenow="91"]').waitFor();
    server.status.engines[5] = { ...server.status.engines[5], state: 'ready', percent: undefined };
    await bar.waitFor({ state: 'detached' });
    assert.match(await page.getByTestId('status-hq').innerText(), /4[\s\S]*1 has failed/);
    assert.match(await page.getByTestId('status-memory').innerText(), /1\.7 GB/);
  });

  test('of an older server shows what its health says', async () => {
    fails(/\/api\/status/, { status: 404, code: 'not_found' });
    await on('/status');
    await first('engine');
    assert.equal(await page.getByTestId('engine').count(), 5);
    assert.equal(await page.getByTestId('status-memory').count(), 0);
    assert.match(await page.getByTestId('status-calls').innerText(), /2\s+of 5/);
  });
});

test('a key that is entered on one page opens the others', async () => {
  server.key = 'the-key';
  await on('/voices');
  await page.getByTestId('key').fill('the-key');
  await page.getByTestId('key').press('Enter');
  await first('voice');
  await page.getByTestId('nav-history').click();
  await first('history-item');
  await page.getByTestId('nav-status').click();
  await first('engine');
  assert.equal(await page.getByTestId('key-form').count(), 0);
  // The news are followed with it too.
  await page.getByTestId('nav-history').click();
  await first('history-item');
  server.conversations[0].title = 'Heard with the key';
  await server.tell('title', { conversation: 'conv_00060', title: 'Heard with the key' });
  await page.getByText('Heard with the key').waitFor();
});

test('a talk that was cut off is offered, and let go for good', async () => {
  await on('/');
  await page.evaluate(() => sessionStorage.setItem('avatar.talk', JSON.stringify({ conversation: 'conv_00060', token: 't', at: Date.now() })));
  await page.reload();
  await first('broken-talk');
  await page.getByTestId('let-go').click();
  await page.getByTestId('broken-talk').waitFor({ state: 'detached' });
  await page.reload();
  await page.locator('[data-testid="talk-button"][data-state="idle"]').waitFor();
  assert.equal(await page.getByTestId('broken-talk').count(), 0);
});
