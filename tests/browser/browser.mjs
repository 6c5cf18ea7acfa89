// Chromium with a file as its microphone, and the page's talk as a test drives it.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

export const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SHOTS = process.env.AVATAR_SHOTS;
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-features=AudioServiceOutOfProcess',
  '--autoplay-policy=no-user-gesture-required',
];
/**
 * Starts a browser whose microphone plays `microphone` (a WAV file) once, or that has none when that is missing. Asked for
 * the microphone, its user says yes, or no when `refuses`. `executable`: which Chromium.
 */
export function launch({ microphone, refuses = false, executable = EXECUTABLE } = {}) {
  const hears =
    microphone === undefined
      ? []
      : ['--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${microphone}%noloop`];
  const says = refuses ? '--deny-permission-prompts' : '--use-fake-ui-for-media-stream';
  return chromium.launch({ executablePath: executable, headless: true, args: [...QUIET, says, ...hears] });
}

/**
 * `phone`: its screen and touch; `theme`: light or dark; `key`: one that its user has given; `before`: runs in the page before all
 * else. A certificate that nobody vouches for will do. The page's `faults` are errors of scripts and whatever the security policy refused.
 */
export async function open(browser, url, { locale = 'en-US', theme = 'light', phone = false, key, before } = {}) {
  const screen = phone ? { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true } : { viewport: { width: 1280, height: 800 } };
  const context = await browser.newContext({ locale, colorScheme: theme, ignoreHTTPSErrors: true, ...screen });
  if (key !== undefined) await context.addInitScript((key) => sessionStorage.setItem('avatar.key', key), key);
  if (before !== undefined) await context.addInitScript(before);
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => /Content Security Policy/.test(message.text()) && page.faults.push(message.text()));
  await page.goto(url);
  return page;
}

/** Presses the talk button and waits until the call is up, or says what the page shows instead. */
export async function call(page) {
  await page.getByTestId('talk-button').click();
  const state = page.getByTestId('connection-state');
  const settled = page.locator('[data-testid="connection-state"][data-state="live"], [data-testid="failure"]');
  await settled.first().waitFor({ timeout: 60_000 });
  if ((await state.getAttribute('data-state')) !== 'live') {
    throw new Error(`the call did not come about: ${await page.getByTestId('failure').innerText()}`);
  }
}

export const hangUp = (page) => page.getByTestId('hang-up').click();

/** Records what the page hears from here on, sample by sample. */
export async function record(page) {
  await page.waitForFunction(() => window.__avatar.remoteStream !== null, null, { timeout: 60_000 });
  await page.evaluate(() => {
    const [track] = window.__avatar.remoteStream.getAudioTracks();
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 500 }).readable.getReader();
    const tape = { reader, blocks: [], times: [], rate: null };
    window.__tape = tape;
    void (async () => {
      for (;;) {
        const { value: sound, done } = await reader.read();
        if (done) return;
        const samples = new Float32Array(sound.numberOfFrames);
        sound.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
        tape.rate = sound.sampleRate;
        tape.blocks.push(samples);
        tape.times.push(performance.now());
        sound.close();
      }
    })();
  });
}

/**
 * What was recorded: its samples, their rate, and for each block of them when it came (ms on the page's clock) and where it
 * begins. A busy machine's browser plays slower than the clock at times, so a time is looked up, not computed.
 */
export async function recorded(page) {
  const { rate, times, lengths, base64 } = await page.evaluate(async () => {
    const { reader, blocks, times, rate } = window.__tape;
    await reader.cancel();
    const whole = new Int16Array(blocks.reduce((length, block) => length + block.length, 0));
    let at = 0;
    for (const block of blocks) {
      for (const sample of block) whole[at++] = Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
    }
    const file = new FileReader();
    const read = new Promise((done) => (file.onload = () => done(file.result)));
    file.readAsDataURL(new Blob([whole]));
    return { rate, times, lengths: blocks.map(({ length }) => length), base64: (await read).split(',')[1] ?? '' };
  });
  const bytes = Buffer.from(base64, 'base64');
  const samples = new Float32Array(bytes.length / 2);
  for (let i = 0; i < samples.length; i += 1) samples[i] = bytes.readInt16LE(2 * i) / 32767;
  let begin = 0;
  const blocks = lengths.map((length, i) => {
    begin += length;
    return { at: times[i], begin: begin - length };
  });
  return { samples, rate, blocks };
}

/** The server's events so far, each `{ at, event }` with the page's clock in ms. */
export const events = (page) => page.evaluate(() => window.__avatar.events);

/** Waits until `enough(events)`; on the limit goes on with what there is, so that the test says what is missing. */
export async function listenUntil(page, enough, limitMs) {
  const limit = Date.now() + limitMs;
  for (;;) {
    const seen = await events(page);
    if (enough(seen) || Date.now() > limit) return seen;
    await sleep(500);
  }
}

export async function screenshot(page, name) {
  if (SHOTS === undefined || SHOTS === '') return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}
