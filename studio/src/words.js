/** The page's texts and numbers in the caller's language. */
import { signal } from "@preact/signals";

/** The page's languages, by their own names. @type {Record<string, string>} */
export const LANGUAGES = { en: "English", de: "Deutsch", zh: "中文" };

/** The texts that came with the page, in the first language of the browser's that the page has. */
const given = /** @type {HTMLElement} */ (document.getElementById("texts"));

/** @type {Map<string, Record<string, string>>} */
const known = new Map([[given.lang, JSON.parse(given.textContent ?? "")]]);

export const language = signal(given.lang);

/**
 * A text by its key, with `{name}` replaced by the values. An unknown key shows as itself.
 *
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = known.get(language.value)?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Formats that were made; making one takes longer than using it. @type {Map<string, any>} */
const formats = new Map();

/** @template T @param {string} name @param {() => T} make @returns {T} */
function format(name, make) {
  const key = `${language.value} ${name}`;
  if (!formats.has(key)) formats.set(key, make());
  return formats.get(key);
}

/** @param {number} value @param {number} [digits] */
export function number(value, digits = 2) {
  const make = () => new Intl.NumberFormat(language.value, { maximumFractionDigits: digits });
  return format(`number ${digits}`, make).format(value);
}

/** A time or a day in words. @param {string | Date} when @param {Intl.DateTimeFormatOptions} parts */
export function moment(when, parts) {
  const make = () => new Intl.DateTimeFormat(language.value, parts);
  return format(JSON.stringify(parts), make).format(new Date(when));
}

/** Show the page in a language; "" is the browser's. @param {string} wanted */
export async function speak(wanted) {
  const chosen = wanted in LANGUAGES ? wanted : given.lang;
  if (!known.has(chosen)) {
    const answer = await fetch(new URL(`strings/${chosen}.json`, location.href));
    if (!answer.ok) return;
    known.set(chosen, await answer.json());
  }
  language.value = chosen;
  document.documentElement.lang = chosen;
}

/** Seconds as 1:02, or 1:02.3 with a digit. @param {number} seconds @param {number} [digits] */
export function clock(seconds, digits = 0) {
  const scale = 10 ** digits;
  const whole = Math.max(0, Math.floor(seconds * scale + 1e-6)) / scale;
  return `${Math.floor(whole / 60)}:${(whole % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0")}`;
}
