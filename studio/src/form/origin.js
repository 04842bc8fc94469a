/** Where a form's music comes from: a take, or an upload. Takes go on as latents, so nothing is decoded and encoded again. */
import { signal } from "@preact/signals";
import { chosen } from "../address.js";
import { get } from "../http.js";
import { loadTake, takes } from "../takes/store.js";
import { tabOf, TABS } from "./tabs.js";

/** @typedef {import("../types.js").Run} Run */
/** @typedef {import("../types.js").Output} Output */
/** @typedef {{id: string, file_name: string, details?: {seconds?: number}}} Upload */
/** @typedef {{run: Run | null, item: number, upload: Upload | null}} Origin */

/** Files that were uploaded, newest first. @type {import("@preact/signals").Signal<Upload[]>} */
export const uploads = signal([]);

/** The seconds of assets, by id. @type {import("@preact/signals").Signal<Record<string, number>>} */
const lengths = signal({});
const asked = new Set();

/** All outputs of a kind; the one of that name first. @param {Run} run @param {string} kind @returns {Output[]} */
export function outputsOf(run, kind) {
  const named = Object.entries(run.outputs ?? {}).sort(([a], [b]) => Number(b === kind) - Number(a === kind));
  const found = named.map(([, output]) => output).find((output) => [output].flat()[0]?.kind === kind);
  return found ? [found].flat() : [];
}

/** Whether a take has music to go on from. @param {Run} run */
export const isUsable = (run) =>
  run.state === "succeeded" && ["latents", "audio"].some((kind) => outputsOf(run, kind).some((output) => !output.expired));

/** The newest usable take, of some graphs. @param {string[] | null} [graphs] */
function newest(graphs = null) {
  return [...takes.value.values()].find((run) => isUsable(run) && (!graphs || graphs.includes(run.graph))) ?? null;
}

/** The chosen take; while it has no music, the one that it is made from; the newest where none is chosen. */
function chosenTake() {
  let run = chosen.value ? takes.value.get(chosen.value) : undefined;
  if (!run) return newest();
  const seen = new Set();
  while (run && !isUsable(run) && !seen.has(run)) run = takes.value.get((seen.add(run), run.labels.parent ?? ""));
  return run && isUsable(run) ? run : null;
}

/**
 * What a picker's value means: "" for the chosen take, "last" and "song" for the newest of a tab, `run:ID:ITEM`, `asset:ID`.
 *
 * @param {string} tab
 * @param {string} [value]
 * @returns {Origin}
 */
export function originOf(tab, value = "") {
  const [kind, id, item] = value.split(":");
  if (kind === "asset") return { run: null, item: 0, upload: uploads.value.find((each) => each.id === id) ?? { id, file_name: id } };
  if (kind === "run" && !takes.value.has(id) && !asked.has(id)) loadTake((asked.add(id), id)).catch(() => {}); // an older one, or deleted
  if (kind === "run") return { run: takes.value.get(id) ?? null, item: Number(item ?? 0), upload: null };
  const run = kind === "last" ? newest(tabOf(tab).graphs) : kind === "song" ? newest(TABS.text2music.graphs) : chosenTake();
  return { run, item: 0, upload: null };
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
export const lostLatents = ({ run, item }) => !!run && isUsable(run) && (outputsOf(run, "latents")[item]?.expired ?? true);

/** The length of the music in seconds, once it is known. @param {Origin} origin @returns {number | null} */
export function secondsOf(origin) {
  const id = assetOf(origin, "music");
  if (!id) return null;
  const known = origin.upload?.details?.seconds ?? lengths.value[id];
  if (known === undefined && !asked.has(id)) {
    asked.add(id);
    get(`v1/assets/${id}`).then(
      (asset) => (lengths.value = { ...lengths.peek(), [id]: asset.details.seconds }),
      () => asked.delete(id),
    );
  }
  return known ?? null;
}

/** What a take is called in lists. @param {Run} run */
export const titleOf = (run) => run.labels.title || `${run.inputs?.new_tags ?? run.inputs?.tags ?? run.graph}`;

/** The tags and lyrics that a take has now, also after edits. @param {Run} run */
export function textsOf(run) {
  const { tags = "", new_tags: newTags, lyrics = "", new_lyrics: newLyrics, edits } = run.inputs ?? {};
  return { tags: newTags ?? tags, lyrics: newLyrics ?? edits?.at(-1) ?? lyrics };
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
