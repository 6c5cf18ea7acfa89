// Comparing texts by their words.

const ONES = 'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(' ');
const TENS = 'zero ten twenty thirty forty fifty sixty seventy eighty ninety'.split(' ');

/** The words of a text as they are spoken: lower case, no punctuation, numbers written out. */
export function words(text) {
  return text
    .toLowerCase()
    .replace(/[’‘]/g, "'")
    .replace(/(\d),(?=\d{3}\b)/g, '$1')
    .replace(/\d+/g, (digits) => ` ${spoken(Number(digits))} `)
    .replace(/%/g, ' percent ')
    .replace(/&/g, ' and ')
    .replace(/[^\p{L}\p{N}' ]/gu, ' ')
    .split(/\s+/)
    .map((word) => word.replace(/^'+|'+$/g, ''))
    .filter((word) => word !== '');
}

function spoken(number) {
  if (number < 20) return ONES[number];
  if (number < 100) return [TENS[Math.floor(number / 10)], ...(number % 10 === 0 ? [] : [ONES[number % 10]])].join(' ');
  if (number < 1000) return [ONES[Math.floor(number / 100)], 'hundred', ...(number % 100 === 0 ? [] : [spoken(number % 100)])].join(' ');
  if (number < 1_000_000) {
    return [spoken(Math.floor(number / 1000)), 'thousand', ...(number % 1000 === 0 ? [] : [spoken(number % 1000)])].join(' ');
  }
  return String(number).split('').map((digit) => ONES[Number(digit)]).join(' ');
}

/** Fewest words to put in, leave out or change to make `heard` of `said`. */
export function errors(said, heard) {
  const [a, b] = [words(said), words(heard)];
  let row = b.map((_, i) => i + 1);
  row.unshift(0);
  a.forEach((word, i) => {
    const next = [i + 1];
    b.forEach((other, j) => next.push(Math.min(row[j] + (word === other ? 0 : 1), row[j + 1] + 1, next[j] + 1)));
    row = next;
  });
  return row[b.length];
}

/** Word-error rate over all pairs `{ said, heard }` together. */
export function errorRate(pairs) {
  const wrong = pairs.reduce((sum, { said, heard }) => sum + errors(said, heard), 0);
  return wrong / pairs.reduce((sum, { said }) => sum + words(said).length, 0);
}
