/** The page's texts and numbers in the caller's language. */
import { signal } from "@preact/signals";

export const LANGUAGES = ["en", "de", "zh"];

/** @type {import("@preact/signals").Signal<string>} */
export const language = signal("en");

/** @type {import("@preact/signals").Signal<Record<string, string>>} */
const texts = signal({});

/**
 * A text by its key, with `{name}` replaced by the values. An unknown key shows as itself.
 *
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = texts.value[key] ?? key;
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
  return format(`number ${digits}`, () => new Intl.NumberFormat(language.value, { maximumFractionDigits: digits })).format(value);
}

/** A time or a day in words. @param {string | Date} when @param {Intl.DateTimeFormatOptions} parts */
export function moment(when, parts) {
  return format(JSON.stringify(parts), () => new Intl.DateTimeFormat(language.value, parts)).format(new Date(when));
}

/** Load a language's texts. @param {string} wanted */
export async function speak(wanted) {
  const chosen = LANGUAGES.find((each) => wanted.toLowerCase().startsWith(each)) ?? "en";
  if (chosen === language.value && Object.keys(texts.value).length) return;
  const answer = await fetch(new URL(`strings/${chosen}.json`, location.href));
  if (!answer.ok) return;
  texts.value = await answer.json();
  language.value = chosen;
  document.documentElement.lang = chosen;
}
