/** Loads settings into the form: of a take, an example, a recipe, or a song's file. */
import { go, tab as openTab } from "../address.js";
import { graph as loadGraph } from "../model.js";
import { request } from "../http.js";
import { ends, span } from "../span.js";
import { takes } from "../takes/store.js";
import { failed, notice } from "../window/notice.js";
import { t } from "../words.js";
import { blank, change, OPTIONS, put } from "./drafts.js";
import { pickOf } from "./origin.js";
import { fieldsOf, isAsset, isAssetList } from "./schema.js";
import { lock, SEEDS } from "./seeds.js";
import { placeOf, TABS } from "./tabs.js";

/** Keep a seed for the next runs of the open tab. @param {number} seed */
export const lockSeed = (seed) => lock(openTab.value, seed);

/**
 * Fill the form of a graph with inputs, and open its tab.
 *
 * @param {string} graph
 * @param {Record<string, any>} inputs
 * @param {{source?: string | null, format?: string | null}} [from]  the take or file whose settings they are
 */
export async function loadSettings(graph, inputs, { source = null, format = null } = {}) {
  const run = takes.value.get(source ?? "");
  const tab = placeOf(graph);
  const fields = fieldsOf((await loadGraph(graph)).inputs);
  const names = fields.map((field) => field.name);
  /** @type {Record<string, any>} */
  const values = {};
  for (const field of fields) {
    const isText = field.name === "tags" || field.name === "lyrics";
    const value = inputs[field.name] ?? (tab === "text2music" && isText ? "" : inputs[field.name]);
    if (value === undefined || field.name === "sound") continue;
    if (isAsset(field)) values[field.name] = value ? pickOf(idOf(value)) : undefined;
    else if (isAssetList(field)) values[field.name] = value?.map(idOf).map(pickOf);
    else values[field.name] = value;
  }
  const draft = { ...blank(), on: switchesOf(graph, tab), values };
  const named = SEEDS.find((name) => names.includes(name));
  const seeds = named ? [inputs[named] ?? []].flat().filter((seed) => seed !== "random") : [];
  if (named) delete values[named];
  if (seeds.length) Object.assign(draft, { seeds: seeds.join(", "), locked: true, count: seeds.length });
  if (tab === "retake" && run?.labels.parent) values.take = `run:${run.labels.parent}:0`;
  if (tab === "edit") {
    values.new_tags = inputs.new_tags ?? inputs.tags;
    values.new_lyrics = inputs.new_lyrics ?? inputs.edits?.at(-1) ?? inputs.lyrics;
  }
  if (tab === "text2music" && values.lyrics === "[inst]") {
    draft.on.instrumental = true;
    values.lyrics = "";
  }
  if (values.span) {
    const [start, end] = Array.isArray(values.span) ? values.span : [values.span.start, values.span.end];
    span.value = [start, end];
  }
  if (names.includes("left")) ends.value = { left: values.left ?? 0, right: values.right ?? 0 };
  for (const name of ["span", "left", "right"]) delete values[name];
  change(tab, draft);
  if (run || format) put(OPTIONS, { format: format ?? run?.format });
  go({ tab });
}

/** The id of an asset, as a run's inputs or a recipe's have it. @param {string | {asset: string}} value */
const idOf = (value) => (typeof value === "string" ? value : value.asset);

/** The switches that lead to other graphs than a tab's own. @type {Record<string, string>} */
const SWITCHES = {
  audio2audio: "audio2audio",
  "best-of": "best",
  "variation-in-span": "gentle",
  "lyric-chain": "small",
};

/** The switches of a tab that lead to a graph.
 * @param {string} graph @param {string} tab @returns {Record<string, boolean>} */
function switchesOf(graph, tab) {
  const name = tab in TABS && SWITCHES[graph];
  return name ? { [name]: true } : {};
}

/** Load the settings in a file, and say what of them is missing.
 * @param {File | Blob & {name: string}} file */
export async function loadFile(file) {
  try {
    const { graph, inputs, missing, warnings } = await request("POST", "v1/recipes:read", file);
    const format = /\.(flac|wav|mp3|ogg)$/.exec(file.name)?.[1] ?? null;
    await loadSettings(graph, inputs, { format });
    const items = [...warnings];
    for (const { input, file_name: name } of missing) {
      items.unshift(t("form.load.missing", { input, name: name || "?" }));
    }
    const text = t(items.length ? "form.loaded.part" : "form.loaded", { name: file.name });
    notice(text, { items, kind: items.length ? "warning" : "info" });
  } catch (error) {
    failed(new Error(`${file.name}: ${/** @type {Error} */ (error).message}`));
  }
}
