/** What the form offers beside a graph's own choices: adapters, presets, examples, languages. Loaded once. */
import { signal } from "@preact/signals";
import { get } from "../http.js";
import { language } from "../words.js";
import { stored } from "./drafts.js";

/** @typedef {{name: string, tags: string, model?: string | null}} Preset */
/** @typedef {{name: string, graph: string, language: string, inputs: Record<string, any>}} Example */

/** Names of adapters and control branches, by the fields that take them. @type {import("@preact/signals").Signal<Record<string, string[]>>} */
export const installed = signal({ adapter: [], control_branch: [] });
/** @type {import("@preact/signals").Signal<Preset[]>} */
export const presets = signal([]);
/** @type {import("@preact/signals").Signal<Example[]>} */
export const examples = signal([]);

const KEY = "acestep-flows-studio-1/presets";

function readPresets() {
  try {
    return JSON.parse(stored(KEY) ?? "[]");
  } catch {
    return []; // another version's text
  }
}

/** Presets of one's own. @type {import("@preact/signals").Signal<Preset[]>} */
export const ownPresets = signal(readPresets());

/** @param {Preset[]} all */
export function keepPresets(all) {
  ownPresets.value = all;
  stored(KEY, JSON.stringify(all));
}

/** The example that an empty form shows: one in the page's language. */
export const firstExample = () => (examples.value.find((example) => example.language === language.value) ?? examples.value[0])?.inputs;

let loaded = false;

export async function loadCatalog() {
  if (loaded) return;
  loaded = true;
  try {
    const [a, c, p, e] = await Promise.all(["adapters", "controls", "presets", "examples"].map((name) => get(`v1/${name}`)));
    const names = (/** @type {{name: string}[]} */ all) => all.map(({ name }) => name);
    installed.value = { adapter: names(a.adapters), control_branch: names(c.controls) };
    presets.value = p.presets;
    examples.value = e.examples;
  } catch {
    loaded = false; // The window says that the server is away; the next form asks again.
  }
}

const CODES = "ar cs de en es fr hi hu it ja ko nl pl pt ru tr zh".split(" ");

/** The languages that lyrics can be encoded in, by their names. @returns {[any, string][]} */
export function LANGUAGES_OF_LYRICS() {
  const names = new Intl.DisplayNames(language.value, { type: "language" });
  return CODES.map((code) => [code, names.of(code) ?? code]);
}
