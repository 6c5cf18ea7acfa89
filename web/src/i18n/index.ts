/** Which language the page speaks: the remembered one, else the browser's, else English. Dictionaries are typed. */
import i18next from 'i18next';
import { initReactI18next } from 'react-i18next';
import { en } from './en';
import { zhHant } from './zh-Hant';

export const languages = ['en', 'zh-Hant'] as const;
export type Language = (typeof languages)[number];

/** What formats dates and numbers, and stands in `<html lang>`. */
export const locale: Record<Language, string> = { en: 'en', 'zh-Hant': 'zh-Hant-TW' };

export const dictionaries = { en, 'zh-Hant': zhHant };

declare module 'i18next' {
  interface CustomTypeOptions {
    defaultNS: 'translation';
    resources: { translation: typeof en };
  }
}

/** The first of the wanted languages that the page speaks. Any Chinese is served in traditional characters. */
export function pickLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    if (/^zh\b/i.test(tag)) return 'zh-Hant';
    if (/^en\b/i.test(tag)) return 'en';
  }
  return 'en';
}

export function startTranslation(language: Language): void {
  void i18next.use(initReactI18next).init({
    lng: language,
    fallbackLng: 'en',
    resources: { en: { translation: en }, 'zh-Hant': { translation: zhHant } },
    // React escapes; the dictionaries are in the bundle, so the first render already has its words.
    interpolation: { escapeValue: false },
    initAsync: false,
  });
}
