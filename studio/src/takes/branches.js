/** The takes as a tree: each under its parent, newest branch first, branches by day. */
import { computed, signal } from "@preact/signals";
import { moment, t } from "../words.js";
import { parentId, takes } from "./store.js";
import { titleOf } from "./facts.js";

/** @typedef {import("../types.js").Run} Run */
/** @typedef {{run: Run, level: number, day: string | null}} Row  day: heading above the row, if a day begins */

/** What is shown. */
export const wanted = signal({ text: "", starred: false, hidden: false });

/** @param {Run} run */
function matches(run) {
  const { text, starred, hidden } = wanted.value;
  if (run.labels.hidden && !hidden) return false;
  if (starred && !run.labels.star) return false;
  if (!text.trim()) return true;
  const { tags = "", lyrics = "", new_tags = "", new_lyrics = "" } = run.inputs ?? {};
  const said = [titleOf(run), run.graph, tags, lyrics, new_tags, new_lyrics, ...Object.values(run.labels)].join("\n").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => said.includes(word));
}

/** Whether takes are left out by what one looks for. */
export const searching = computed(() => Boolean(wanted.value.text.trim() || wanted.value.starred));

/** The rows of the tree, from top to bottom. */
export const rows = computed(() => {
  const shown = new Map([...takes.value].filter(([, run]) => matches(run)));
  /** @type {Map<string, Run[]>} */
  const children = new Map();
  const roots = [];
  for (const run of shown.values()) {
    const above = ancestor(run, shown);
    if (above) children.set(above, [...(children.get(above) ?? []), run]);
    else roots.push(run);
  }
  /** @param {Run} run @returns {string} */
  const newest = (run) => (children.get(run.id) ?? []).map(newest).reduce((a, b) => (a > b ? a : b), run.id);
  /** @type {Row[]} */
  const found = [];
  /** @param {Run} run @param {number} level @param {string | null} day */
  const add = (run, level, day) => {
    found.push({ run, level, day });
    for (const child of order(children.get(run.id) ?? [])) add(child, level + 1, null);
  };
  /** @param {Run[]} runs */
  const order = (runs) => runs.map((run) => ({ run, key: newest(run) })).sort((a, b) => (a.key < b.key ? 1 : -1)).map(({ run }) => run);
  let before = "";
  for (const run of order(roots)) {
    const day = new Date(/** @type {Run} */ (shown.get(newest(run))).created_at).toDateString();
    add(run, 1, day === before ? null : dayName(day));
    before = day;
  }
  return found;
});

/** The nearest take above that is shown: what is hidden does not cut a branch off. @param {Run} run @param {Map<string, Run>} shown */
function ancestor(run, shown) {
  for (let above = parentId(run); above; ) {
    if (shown.has(above)) return above;
    const next = takes.value.get(above);
    above = next ? parentId(next) : "";
  }
  return null;
}

/** @param {string} day */
function dayName(day) {
  const days = Math.round((new Date(new Date().toDateString()).getTime() - new Date(day).getTime()) / 86_400_000);
  if (days === 0) return t("take.today");
  if (days === 1) return t("take.yesterday");
  return moment(day, { weekday: "short", day: "numeric", month: "long", year: "numeric" });
}
