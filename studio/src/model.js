/** What the server offers: its model, graphs, adapters, presets and examples. Loaded once. */
import { signal } from "@preact/signals";
import { get } from "./http.js";

/** @type {import("@preact/signals").Signal<import("./types.js").Model | null>} */
export const model = signal(null);

/** @type {import("@preact/signals").Signal<import("./types.js").GraphEntry[]>} */
export const graphs = signal([]);

/** @type {Map<string, Promise<any>>} */
const schemas = new Map();

/** A graph's interface: inputs as a JSON Schema, outputs, description. @param {string} name */
export function graph(name) {
  const known = schemas.get(name) ?? get(`v1/graphs/${encodeURIComponent(name)}`);
  schemas.set(name, known);
  known.catch(() => schemas.delete(name));
  return known;
}

/** Name of the caller's key; null on a server without keys. @type {import("@preact/signals").Signal<string | null>} */
export const caller = signal(null);

export async function loadModel() {
  const [about, list, me] = await Promise.all([get("v1/model"), get("v1/graphs"), get("v1/me")]);
  caller.value = me.name;
  model.value = about;
  graphs.value = list.graphs;
}
