// Numbers, times and names as people read them.

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const NONE = '–';

export const none = NONE;
export const int = (n) => (n == null ? NONE : plain.format(n));

/** A number with as many digits as say something. */
export function num(n, digits = 4) {
  if (n == null || Number.isNaN(n)) return NONE;
  if (Number.isInteger(n) && Math.abs(n) < 1e15) return plain.format(n);
  const size = Math.abs(n);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return n.toExponential(2);
  return new Intl.NumberFormat('en', { maximumSignificantDigits: digits }).format(n);
}

export function rate(n) {
  if (n == null) return NONE;
  return n >= 100 || Number.isInteger(n) ? plain.format(n) : n.toFixed(n >= 10 ? 1 : 2);
}

export function us(n) {
  if (n == null) return NONE;
  if (n < 1000) return `${Math.round(n)} µs`;
  if (n < 1e6) return `${(n / 1000).toFixed(n < 1e4 ? 2 : 1)} ms`;
  return `${(n / 1e6).toFixed(2)} s`;
}

export function ms(n) {
  if (n == null) return NONE;
  if (n < 1000) return `${Math.round(n)} ms`;
  return span(n / 1000);
}

/** Seconds in two of the largest units. */
export function span(seconds) {
  if (seconds == null) return NONE;
  const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  let left = Math.max(0, Math.round(seconds));
  const told = [];
  for (const [name, size] of units) {
    const count = Math.floor(left / size);
    if (count > 0) { told.push(`${count} ${name}`); left -= count * size; }
    if (told.length === 2) break;
  }
  return told.join(' ') || '0 s';
}

export const ago = (msSince1970) => {
  const seconds = (Date.now() - msSince1970) / 1000;
  return seconds < 2 ? 'now' : `${span(seconds)} ago`;
};

export function bytes(n) {
  if (n == null) return NONE;
  if (n < 1024) return `${n} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let at = -1;
  let size = n;
  do { size /= 1024; at += 1; } while (size >= 1024 && at < units.length - 1);
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[at]}`;
}

export function pct(share, digits = 1) {
  if (share == null || !Number.isFinite(share)) return NONE;
  const text = (share * 100).toFixed(digits);
  return Number(text) === 0 && share > 0 ? `< ${(10 ** -digits).toFixed(digits)} %` : `${text} %`;
}

/** The first digits of a release's digest. */
export const short = (release) => (release ? release.replace('sha256:', '').slice(0, 12) : NONE);

const two = (n) => String(n).padStart(2, '0');

/** The time of day, to the millisecond where asked. */
export function clock(when, withMs = false) {
  const date = new Date(when);
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return withMs ? `${text}.${String(date.getMilliseconds()).padStart(3, '0')}` : text;
}

export function day(when) {
  const date = new Date(when);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(date)}`;
}

export const plural = (n, one, many = `${one}s`) => `${int(n)} ${n === 1 ? one : many}`;

/** `not_synced` as words. */
export const words = (code) => String(code).replaceAll('_', ' ');
