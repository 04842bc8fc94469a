/**
 * Where a form's music comes from: a take, or an upload. Takes go on as latents, so nothing is decoded and
 * encoded again.
 */
import { signal } from "@preact/signals";
import { chosen } from "../address.js";
import { get } from "../http.js";
import { loadTake, parentOf, takes } from "../takes/store.js";
import { tabOf, TABS } from "./tabs.js";

/** @typedef {{run: Run | null, item: number, upload: Upload | null}} Origin */

/** Files that were uploaded, newest first. @type {Signal<Upload[]>} */
export const uploads = signal([]);

/** The seconds of assets, by id. @type {Signal<Record<string, number>>} */
const lengths = signal({});

/** What was asked for while something is drawn. */
const asked = new Set();

/** @param {string} id @param {() => Promise<unknown>} ask */
function askOnce(id, ask) {
  if (asked.has(id)) return;
  asked.add(id);
  ask().catch(() => {});
}

/** All outputs of a kind; the one of that name first.
 * @param {Run} run @param {string} kind @returns {Output[]} */
export function outputsOf(run, kind) {
  const named = Object.entries(run.outputs ?? {}).sort(([a], [b]) => Number(b === kind) - Number(a === kind));
  const found = named.map(([, output]) => output).find((output) => [output].flat()[0]?.kind === kind);
  return found ? [found].flat() : [];
}

/** Whether a take has music to go on from. @param {Run} run */
export const isUsable = (run) =>
  run.state === "succeeded" &&
  ["latents", "audio"].some((kind) => outputsOf(run, kind).some((output) => !output.expired));

/** The newest usable take, of some graphs. @param {string[] | null} [graphs] */
function newest(graphs = null) {
  const isWanted = (/** @type {Run} */ run) => isUsable(run) && (!graphs || graphs.includes(run.graph));
  return [...takes.value.values()].find(isWanted) ?? null;
}

/** The chosen take; while it has no music, the one that it is made from; the newest where none is chosen. */
function chosenTake() {
  let run = takes.value.get(chosen.value ?? "") ?? null;
  if (!run) return newest();
  while (run && !isUsable(run)) run = parentOf(run);
  return run;
}

/**
 * What a picker's value means: "" for the chosen take, "last" and "song" for the newest of a tab,
 * `run:ID:ITEM`, `asset:ID`.
 *
 * @param {string} tab
 * @param {string} [value]
 * @returns {Origin}
 */
export function originOf(tab, value = "") {
  const [kind, id, item] = value.split(":");
  /** @param {Run | null} run */
  const from = (run) => ({ run, item: Number(item ?? 0), upload: null });
  if (kind === "asset") {
    const upload = uploads.value.find((each) => each.id === id) ?? { id, file_name: id };
    return { run: null, item: 0, upload };
  }
  if (kind === "run") {
    if (!takes.value.has(id)) askOnce(id, () => loadTake(id)); // an older one, or deleted
    return from(takes.value.get(id) ?? null);
  }
  if (kind === "last") return from(newest(tabOf(tab).graphs));
  return from(kind === "song" ? newest(TABS.text2music.graphs) : chosenTake());
}

/** The asset to give to an input of a type; null for none. @param {Origin} origin @param {string} type */
export function assetOf({ run, item, upload }, type) {
  if (upload) return upload.id;
  if (!run) return null;
  const [latents, audio] = ["latents", "audio"].map((kind) => {
    const output = outputsOf(run, kind)[item];
    return output && !output.expired ? output.asset : null;
  });
  return type === "latents" ? latents : type === "audio" ? audio : (latents ?? audio);
}

/** Whether a take's latents are gone, so that its audio has to be encoded. @param {Origin} origin */
export const lostLatents = ({ run, item }) =>
  !!run && isUsable(run) && (outputsOf(run, "latents")[item]?.expired ?? true);

/** The length of the music in seconds, once it is known. @param {Origin} origin @returns {number | null} */
export function secondsOf(origin) {
  const id = assetOf(origin, "music");
  if (!id) return null;
  const known = origin.upload?.details?.seconds ?? lengths.value[id];
  if (known === undefined) {
    askOnce(id, async () => {
      const { details } = await get(`v1/assets/${id}`);
      lengths.value = { ...lengths.peek(), [id]: details.seconds };
    });
  }
  return known ?? null;
}

/** The value of a picker that stands for an asset. @param {string} id */
export function pickOf(id) {
  for (const each of takes.value.values()) {
    for (const output of ["latents", "audio"].map((kind) => outputsOf(each, kind))) {
      const item = output.findIndex((one) => one.asset === id);
      if (item >= 0) return `run:${each.id}:${item}`;
    }
  }
  return `asset:${id}`;
}

/** Load the list of uploads. */
export async function loadUploads() {
  uploads.value = (await get("v1/assets?limit=50")).assets;
}
