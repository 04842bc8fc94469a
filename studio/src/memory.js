/**
 * What the browser keeps of the page: unsent text, presets of one's own, language and colours. Private
 * windows and full
 * disks keep nothing; the page works without.
 */

const KEY = "acestep-flows-studio-1/"; // another version's values are not read

/** A value that was kept, or another. @template T @param {string} name @param {T} otherwise @returns {T} */
export function kept(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(KEY + name) ?? "null") ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @param {string} name @param {any} value */
export function keep(name, value) {
  try {
    localStorage.setItem(KEY + name, JSON.stringify(value));
  } catch {
    // Nothing is lost but the memory of a reload.
  }
}
