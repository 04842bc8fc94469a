/** What is typed into the form, tab by tab. It survives a reload. */
import { signal } from "@preact/signals";
import { keep, kept } from "../memory.js";

/**
 * @typedef {object} Draft
 * @property {Record<string, any>} values  what differs from the values that the form starts with
 * @property {Record<string, boolean>} on  the switches that are on
 * @property {string} seeds  those to use if locked, else those used last
 * @property {boolean} locked
 * @property {number} count  how many seeds to draw
 * @property {string} title  of the takes that it makes
 */

/** @typedef {Signal<Draft>} DraftSignal */

/** @returns {Draft} */
export const blank = () => ({ values: {}, on: {}, seeds: "", locked: false, count: 1, title: "" });

/** @type {Map<string, DraftSignal>} */
const drafts = new Map();

/** The draft of a tab. @param {string} tab @returns {DraftSignal} */
export function draftOf(tab) {
  const known = drafts.get(tab);
  if (known) return known;
  const made = signal({ ...blank(), ...kept(`form/${tab}`, {}) });
  made.subscribe((draft) => keep(`form/${tab}`, draft));
  drafts.set(tab, made);
  return made;
}

/** Change parts of a draft. @param {string} tab @param {Partial<Draft>} parts */
export function change(tab, parts) {
  const draft = draftOf(tab);
  draft.value = { ...draft.peek(), ...parts };
}

/** Change some values of a draft; undefined takes a change back.
 * @param {string} tab @param {Record<string, any>} values */
export function put(tab, values) {
  const all = { ...draftOf(tab).peek().values, ...values };
  for (const name of Object.keys(values)) if (values[name] === undefined) delete all[name];
  change(tab, { values: all });
}

/** @param {string} tab @param {string} name @param {boolean} isOn */
export const turn = (tab, name, isOn) => change(tab, { on: { ...draftOf(tab).peek().on, [name]: isOn } });

/** What every run gets: the format of its audio, and how often it is heard on the way. */
export const OPTIONS = "options";
