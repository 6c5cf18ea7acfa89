/** Times and numbers as people read them. Pure; the locale is an argument. */

/** `0:07`, `12:40`, `1:02:03`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  const hours = Math.floor(whole / 3600);
  const [minutes, rest] = parts as [number, number];
  const tail = String(rest).padStart(2, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${tail}` : `${minutes}:${tail}`;
}

/** Milliseconds, whole, with the locale's grouping. */
export function milliseconds(ms: number, locale: string): string {
  return new Intl.NumberFormat(locale, { maximumFractionDigits: 0 }).format(ms);
}

export function timeOfDay(at: Date, locale: string): string {
  return new Intl.DateTimeFormat(locale, { hour: 'numeric', minute: '2-digit' }).format(at);
}

export function fullDate(at: Date, locale: string): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'short' }).format(at);
}

const startOfDay = (at: Date) => new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();

/** Which heading a conversation of `at` stands under, seen from `now`. */
export function dayOf(at: Date, now: Date, locale: string): 'today' | 'yesterday' | { date: string } {
  const days = Math.round((startOfDay(now) - startOfDay(at)) / 86_400_000);
  if (days === 0) return 'today';
  if (days === 1) return 'yesterday';
  const sameYear = at.getFullYear() === now.getFullYear();
  const format: Intl.DateTimeFormatOptions = sameYear
    ? { weekday: 'long', month: 'long', day: 'numeric' }
    : { year: 'numeric', month: 'long', day: 'numeric' };
  return { date: new Intl.DateTimeFormat(locale, format).format(at) };
}

export function whole(value: number, locale: string): string {
  return new Intl.NumberFormat(locale, { maximumFractionDigits: 0 }).format(value);
}

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;

/** `820 MB`, `1.4 GB`: in steps of a thousand, with one decimal where it tells something. */
export function bytes(value: number, locale: string): string {
  const step = Math.min(Math.max(Math.floor(Math.log10(Math.max(value, 1)) / 3), 0), UNITS.length - 1);
  const shown = value / 1000 ** step;
  return new Intl.NumberFormat(locale, {
    style: 'unit',
    unit: UNITS[step] ?? 'byte',
    unitDisplay: 'short',
    maximumFractionDigits: step > 1 && shown < 100 ? 1 : 0,
  }).format(shown);
}

/** The two largest units: `3 days, 4 hr`, `5 hr, 12 min`, `40 sec`. */
export function uptime(seconds: number, locale: string): string {
  const s = Math.max(0, Math.floor(seconds));
  const parts = [
    { unit: 'day', value: Math.floor(s / 86_400) },
    { unit: 'hour', value: Math.floor(s / 3_600) % 24 },
    { unit: 'minute', value: Math.floor(s / 60) % 60 },
    { unit: 'second', value: s % 60 },
  ];
  const first = parts.findIndex(({ value }) => value > 0);
  const shown = first === -1 ? parts.slice(-1) : parts.slice(first, first + 2).filter(({ value }) => value > 0);
  const said = shown.map(({ unit, value }) => new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'short' }).format(value));
  return new Intl.ListFormat(locale, { type: 'unit', style: 'short' }).format(said);
}

/** A language's name in the reader's own; the tag itself where it is none. */
export function languageName(tag: string, locale: string): string {
  try {
    return new Intl.DisplayNames(locale, { type: 'language' }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}
