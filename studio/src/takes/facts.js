/** What can be said of a take in few words. */
import { number, t } from "../words.js";
import { parentOf } from "./store.js";

/** How many changes a row names. */
const MOST = 4;

/** Inputs of edits that a parent does not have, and that say what the edit was. */
const OWN = "span variance left right minimum maximum strength seed retake_seed steps".split(" ");
const SKIPPED = "latents source reference vocal tags lyrics duration".split(" ");

/** The tags and lyrics that a take has now, also after edits. @param {Run} run */
export function textsOf(run) {
  const { tags, new_tags: newTags, lyrics, new_lyrics: newLyrics, edits } = run.inputs ?? {};
  /** A graph of one's own may mean something else by a name. @param {any[]} texts @returns {string} */
  const first = (...texts) => texts.find((text) => text && typeof text === "string") ?? "";
  return { tags: first(newTags, tags), lyrics: first(newLyrics, edits?.at?.(-1), lyrics) };
}

/** What a person calls the take: its title or that of the take it comes from, or what it was asked to be.
 * @param {Run} run @returns {string} */
export function titleOf(run) {
  const parent = parentOf(run);
  const tags = textsOf(run).tags.trim();
  if (run.labels.title) return run.labels.title;
  return parent && textsOf(parent).tags.trim() === tags ? titleOf(parent) : tags || run.graph;
}

/** Seconds of music, as far as the inputs say; null where they do not.
 * @param {Run} run @returns {number | null} */
export function secondsOf(run) {
  const { duration, left = 0, right = 0 } = run.inputs ?? {};
  if (typeof duration === "number") return duration;
  const parent = parentOf(run);
  const before = parent ? secondsOf(parent) : null;
  return before === null ? null : before + (run.graph.startsWith("extend") ? left + right : 0);
}

/** What a take changes against its parent; without one, its seed. @param {Run} run */
export function changesOf(run) {
  const parent = parentOf(run);
  const before = parent?.inputs ?? {};
  const told = [];
  if (parent) {
    const [old, now] = [textsOf(parent), textsOf(run)];
    const count = linesChanged(old.lyrics, now.lyrics);
    if (now.tags && now.tags !== old.tags) told.push(t("take.tags"));
    if (now.lyrics && now.lyrics !== old.lyrics) told.push(t("take.lines", { count }));
  }
  for (const [name, value] of Object.entries(run.inputs ?? {})) {
    const isTold = parent ? OWN.includes(name) || name in before : /seed/.test(name);
    if (!isTold || [null, "", 0].includes(value) || SKIPPED.includes(name) || name.startsWith("new_"))
      continue;
    if (JSON.stringify(value) !== JSON.stringify(before[name])) told.push(worded(name, value));
  }
  return told.slice(0, MOST);
}

/** @param {string} name @param {any} value */
function worded(name, value) {
  const label = name.replaceAll("_", " ");
  const [start, end] = Array.isArray(value) ? value : [value?.start, value?.end];
  if (name === "span" && typeof start === "number") return `${number(start, 1)}–${number(end, 1)} s`;
  if (name === "left" || name === "right") return `${label} +${number(value, 1)} s`;
  if (/seed/.test(name)) return `${label} ${value}`;
  if (typeof value === "boolean") return `${label} ${t(value ? "take.on" : "take.off")}`;
  const text = typeof value === "number" ? number(value) : String(value);
  return typeof value === "object" || text.length > 24 ? label : `${label} ${text}`;
}

/** @param {string} before @param {string} after */
function linesChanged(before, after) {
  const known = new Set(before.split("\n"));
  const gone = before.split("\n").length - after.split("\n").length;
  return Math.max(after.split("\n").filter((line) => !known.has(line)).length, gone, 1);
}
