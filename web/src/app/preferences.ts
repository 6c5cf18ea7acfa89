/** Theme and language: chosen, remembered, applied to the document. `public/boot.js` applies them before the first paint. */
import i18next from 'i18next';
import { useSyncExternalStore } from 'react';
import { languages, locale, pickLanguage, type Language } from '../i18n';

const THEME_KEY = 'avatar.theme';
const LANGUAGE_KEY = 'avatar.language';

export type Theme = 'light' | 'dark';

function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Storage can be switched off; the choice then lasts as long as the page.
  }
}

function recall(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function firstLanguage(): Language {
  const remembered = languages.find((language) => language === recall(LANGUAGE_KEY));
  return remembered ?? pickLanguage(navigator.languages.length > 0 ? navigator.languages : [navigator.language]);
}

export function applyLanguage(language: Language): void {
  document.documentElement.lang = locale[language];
}

export function chooseLanguage(language: Language): void {
  remember(LANGUAGE_KEY, language);
  applyLanguage(language);
  void i18next.changeLanguage(language);
}

const systemDark = window.matchMedia('(prefers-color-scheme: dark)');
const watchers = new Set<() => void>();

function currentTheme(): Theme {
  const chosen = document.documentElement.dataset['theme'];
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return systemDark.matches ? 'dark' : 'light';
}

function watchTheme(watcher: () => void): () => void {
  watchers.add(watcher);
  systemDark.addEventListener('change', watcher);
  return () => {
    watchers.delete(watcher);
    systemDark.removeEventListener('change', watcher);
  };
}

export function useTheme(): Theme {
  return useSyncExternalStore(watchTheme, currentTheme);
}

/** Chooses a theme; choosing what the system has anyway goes back to following it. */
export function chooseTheme(theme: Theme): void {
  const followsSystem = theme === (systemDark.matches ? 'dark' : 'light');
  if (followsSystem) delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
  remember(THEME_KEY, followsSystem ? null : theme);
  for (const watcher of watchers) watcher();
}
