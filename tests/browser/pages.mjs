// What the tests of the pages share: the double, a browser, and what is demanded of whatever is on the screen.
import assert from 'node:assert/strict';
import { AxeBuilder } from '@axe-core/playwright';
import { screenshot } from './browser.mjs';

/** Every theme, language and size once, in pairs that meet every problem of one with the other. */
export const LOOKS = [
  { name: 'en-light', locale: 'en-US', theme: 'light', phone: false },
  { name: 'zh-dark', locale: 'zh-TW', theme: 'dark', phone: false },
  { name: 'en-dark-phone', locale: 'en-US', theme: 'dark', phone: true },
  { name: 'zh-light-phone', locale: 'zh-TW', theme: 'light', phone: true },
];

/** Usable by everyone, as far as a machine can tell; nothing wider than the screen; no error. Takes a picture for people. */
export async function assertSound(page, name) {
  // What fades in is judged when it is there.
  await page.evaluate(() => Promise.all(document.getAnimations().filter(({ effect }) => effect.getComputedTiming().iterations !== Infinity).map(({ finished }) => finished.catch(() => undefined))));
  await screenshot(page, name);
  // Legacy mode judges in the page itself; the other opens a second one for frames, of which there are none.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).options({ resultTypes: ['violations'] }).analyze();
  const said = violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${id} (${help}): ${target.join(' ')}\n  ${failureSummary}`));
  assert.deepEqual(said, [], `${name}:\n${said.join('\n')}`);
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= screen, `${name} is ${wide} px wide on a screen of ${screen}`);
  assert.deepEqual(page.faults, []);
}

/** Presses Tab until the focus is on `testid`, as somebody without a mouse would. */
export async function tabTo(page, testid, { limit = 60, back = false } = {}) {
  for (let presses = 0; presses < limit; presses += 1) {
    await page.keyboard.press(back ? 'Shift+Tab' : 'Tab');
    if (await page.evaluate((wanted) => document.activeElement?.getAttribute('data-testid') === wanted, testid)) return;
  }
  const at = await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200));
  assert.fail(`${limit} presses of Tab do not reach ${testid}; the focus is on ${at}`);
}
