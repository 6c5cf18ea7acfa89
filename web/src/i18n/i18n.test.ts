import { describe, expect, it } from 'vitest';
import { dictionaries, pickLanguage } from '.';

type Tree = { [key: string]: string | Tree };

function leaves(tree: Tree, path = ''): Map<string, string> {
  return new Map(
    Object.entries(tree).flatMap(([key, value]) =>
      typeof value === 'string' ? [[`${path}${key}`, value] as const] : [...leaves(value, `${path}${key}.`)],
    ),
  );
}

const placeholders = (text: string) => [...text.matchAll(/\{\{(\w+)\}\}/g)].map(([, name]) => name).sort();

describe('the dictionaries', () => {
  const en = leaves(dictionaries.en);
  const zh = leaves(dictionaries['zh-Hant']);

  it('have the same keys', () => {
    expect([...zh.keys()].sort()).toEqual([...en.keys()].sort());
  });

  it('leave no text empty', () => {
    for (const [key, text] of [...en, ...zh]) expect(text.trim(), key).not.toBe('');
  });

  it('fill in the same values', () => {
    for (const [key, text] of en) expect(placeholders(zh.get(key) ?? ''), key).toEqual(placeholders(text));
  });

  it('leave nothing in English untranslated', () => {
    const sameInBoth = ['app.name', 'transcript.avatar'];
    for (const [key, text] of en) if (!sameInBoth.includes(key)) expect(zh.get(key), key).not.toBe(text);
  });

  it('keep to Taiwan’s wording and characters', () => {
    const elsewhere = /[说话时间后发语麦网络设备录这为们]|網絡|服務器|默認|設備|視頻|信息|軟件|屏幕|激活|鏈接|菜單|質量/u;
    for (const [key, text] of zh) expect(text, key).not.toMatch(elsewhere);
  });
});

it('picks the browser’s first language that the page speaks', () => {
  expect(pickLanguage(['zh-TW', 'en'])).toBe('zh-Hant');
  expect(pickLanguage(['en-GB', 'zh-TW'])).toBe('en');
  expect(pickLanguage(['de', 'zh-Hant-TW'])).toBe('zh-Hant');
  expect(pickLanguage(['fr'])).toBe('en');
  expect(pickLanguage([])).toBe('en');
});
