/**
 * What the server offers: its model, graphs, adapters, presets and examples. One request brings all of it.
 */
import { signal } from "@preact/signals";
import { get } from "./http.js";

/**
 * @typedef {{name: string, tags: string, model?: string | null}} Preset
 * @typedef {{name: string, graph: string, language: string, inputs: Record<string, any>}} Example
 * @typedef {{caller: string | null, model: Model, graphs:
 *   GraphEntry[],
 *   adapters: {name: string}[], controls: {name: string}[], presets: Preset[], examples: Example[]}} Catalog
 */

/** @type {Signal<Catalog>} */
export const catalog = signal({
  caller: null,
  model: { name: "", notes: [], sampling: {} },
  graphs: [],
  adapters: [],
  controls: [],
  presets: [],
  examples: [],
});

/** @type {Map<string, Promise<any>>} */
const schemas = new Map();

/** A graph's interface: inputs as a JSON Schema, outputs, description. @param {string} name */
export function graph(name) {
  return schemas.get(name) ?? remember(name, get(`v1/graphs/${encodeURIComponent(name)}`));
}

/** @param {string} name @param {Promise<any>} asked */
function remember(name, asked) {
  schemas.set(name, asked);
  asked.catch(() => schemas.delete(name));
  return asked;
}

/** Load the catalog, and with it the interface of the graph that the page opens with.
 * @param {string | null} first */
export async function loadCatalog(first) {
  const asked = get(`v1/catalog${first ? `?graph=${encodeURIComponent(first)}` : ""}`);
  if (first) remember(first, asked.then((answer) => answer.graph));
  catalog.value = await asked;
}
