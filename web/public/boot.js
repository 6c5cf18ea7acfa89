// Runs before the first paint, so that a remembered theme or language never flashes the wrong one. A file of its own and not
// inline, so that the page needs no 'unsafe-inline'. The keys are those of src/app/preferences.ts.
(function () {
  try {
    var theme = localStorage.getItem('avatar.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    var language = localStorage.getItem('avatar.language') || navigator.language;
    if (/^zh/i.test(language)) document.documentElement.lang = 'zh-Hant-TW';
  } catch (refused) {
    // Storage can be switched off; the system's theme and the browser's language then stand.
  }
})();
