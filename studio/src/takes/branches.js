/** The takes as a tree: each under its parent, newest branch first, branches by day. */
import { computed, signal } from "@preact/signals";
import { moment, t } from "../words.js";
import { parentId, takes } from "./store.js";
import { textsOf, titleOf } from "./facts.js";

/**
 * @typedef {{key: string, run: Run | null, level: number, day: string}} Item  a take, or the heading of a day
 */

/** What is shown. */
export const wanted = signal({ text: "", starred: false, hidden: false });

/** @param {Run} run */
function matches(run) {
  const { text, starred, hidden } = wanted.value;
  if (run.labels.hidden && !hidden) return false;
  if (starred && !run.labels.star) return false;
  if (!text.trim()) return true;
  const { tags, lyrics } = run.inputs ?? {};
  const texts = [
    titleOf(run),
    run.graph,
    tags,
    lyrics,
    ...Object.values(textsOf(run)),
    ...Object.values(run.labels),
  ];
  const said = texts.join("\n").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => said.includes(word));
}

/** Whether takes are left out by what one looks for. */
export const searching = computed(() => Boolean(wanted.value.text.trim() || wanted.value.starred));

/** The tree from top to bottom. */
export const rows = computed(() => {
  const shown = new Map([...takes.value].filter(([, run]) => matches(run)));
  /** @type {Map<string | null, Run[]>} */
  const children = Map.groupBy(shown.values(), (run) => ancestor(run, shown));
  /** Id of the newest take of a branch: ids sort by time. @param {Run} run @returns {string} */
  const newest = (run) => (children.get(run.id) ?? []).map(newest).reduce((a, b) => (a > b ? a : b), run.id);
  /** @param {string | null} parent */
  const below = (parent) => {
    const branches = (children.get(parent) ?? []).map((run) => ({ run, latest: newest(run) }));
    return branches.sort((a, b) => (a.latest < b.latest ? 1 : -1));
  };
  /** @type {Item[]} */
  const found = [];
  /** @param {Run} run @param {number} level */
  const add = (run, level) => {
    found.push({ key: run.id, run, level, day: "" });
    for (const child of below(run.id)) add(child.run, level + 1);
  };
  let before = "";
  for (const { run, latest } of below(null)) {
    const day = new Date(/** @type {Run} */ (shown.get(latest)).created_at).toDateString();
    if (day !== before) found.push({ key: `day ${day}`, run: null, level: 0, day: dayName(day) });
    add(run, 1);
    before = day;
  }
  return found;
});

/** The nearest take above that is shown: what is hidden does not cut a branch off.
 * @param {Run} run @param {Map<string, Run>} shown */
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
  const days = Math.round(
    (new Date(new Date().toDateString()).getTime() - new Date(day).getTime()) / 86_400_000,
  );
  if (days === 0) return t("take.today");
  if (days === 1) return t("take.yesterday");
  return moment(day, { weekday: "short", day: "numeric", month: "long", year: "numeric" });
}
