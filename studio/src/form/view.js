/** The open form: its fields, their values, and the run that they ask for. */
import { signal } from "@preact/signals";
import { catalog, graph as loadGraph } from "../model.js";
import { ends, span } from "../span.js";
import { blank, change, draftOf, put } from "./drafts.js";
import { smallSteps } from "./difference.js";
import { textsOf } from "../takes/facts.js";
import { language } from "../words.js";
import { assetOf, originOf } from "./origin.js";
import { fieldsOf, isAsset, isAssetList, isText, itemType } from "./schema.js";
import { seedCount, SEEDS, seedsOf } from "./seeds.js";
import { IDLE_IN_EDITS, tabOf, TABS } from "./tabs.js";

/** @typedef {{fields: Field[], summary: string}} Interface */

/** Interfaces of graphs, as far as they are loaded.
 * @type {Signal<Record<string, Interface>>} */
const interfaces = signal({});
const asked = new Set();

/** @param {string} name */
async function interfaceOf(name) {
  if (!interfaces.peek()[name]) {
    const { inputs, summary } = await loadGraph(name);
    interfaces.value = { ...interfaces.peek(), [name]: { fields: fieldsOf(inputs), summary } };
  }
  return interfaces.peek()[name];
}

/** What a form does not take over from the take that it starts from. */
const OWN = "variance strength minimum maximum duration span left right keep averages".split(" ");

/** Whether a field says what is added at an end. @param {Field} field */
const isEnd = ({ name }) => name === "left" || name === "right";

/** A form as it stands. */
export class View {
  /** @param {string} tab @param {string} graph @param {Field[]} fields @param {string} [summary] */
  constructor(tab, graph, fields, summary = "") {
    this.tab = tab;
    this.graph = graph;
    this.fields = fields;
    this.summary = summary;
    this.draft = draftOf(tab).value;
    const first = fields.find((field) => isAsset(field) && !field.nullable);
    /** The name of the picker whose take the form starts from. */
    this.from = tabOf(tab).retakes ? "take" : (first?.name ?? null);
    /** @type {Origin | null} */
    this.origin = this.from ? originOf(tab, this.draft.values[this.from]) : null;
    this.seeds = SEEDS.map((name) => fields.find((field) => field.name === name)).find(Boolean) ?? null;
  }

  /** The value that a field starts with: the take's, the tab's, or the graph's. @param {Field} field */
  base(field) {
    const { name } = field;
    const run = this.origin?.run;
    if (run && tabOf(this.tab).retakes && name === "seed") {
      return run.inputs?.seed ?? run.inputs?.seeds?.[this.origin?.item ?? 0];
    }
    if (run && (tabOf(this.tab).retakes ? name !== "variance" : !OWN.includes(name))) {
      const { tags, lyrics } = textsOf(run);
      const texts = { tags, lyrics, new_tags: tags, new_lyrics: lyrics };
      if (name in texts) return texts[/** @type {keyof typeof texts} */ (name)];
      const inherited = run.inputs?.[name];
      if (inherited !== null && inherited !== undefined && !isAsset(field)) return inherited;
    }
    if (this.tab === "text2music" && (name === "tags" || name === "lyrics")) {
      const { examples } = catalog.value;
      const first = examples.find((example) => example.language === language.value) ?? examples[0];
      if (first) return first.inputs[name];
    }
    return tabOf(this.tab).start?.[name] ?? field.fallback ?? (field.nullable ? null : undefined);
  }

  /** @param {Field} field */
  value(field) {
    if (field.name === "span") return span.value;
    if (isEnd(field)) return ends.value[/** @type {"left" | "right"} */ (field.name)];
    const { values } = this.draft;
    return field.name in values ? values[field.name] : this.base(field);
  }

  /** @param {Field} field @param {any} value  undefined goes back to what the field starts with */
  set(field, value) {
    forget(field.name);
    if (field.name === "span") span.value = value;
    else if (isEnd(field)) ends.value = { ...ends.value, [field.name]: Number(value ?? this.base(field)) };
    else put(this.tab, { [field.name]: value, ...this.pushed(field, value) });
  }

  /** Two bounds push each other, so that the lower stays below. @param {Field} field @param {any} value */
  pushed(field, value) {
    const above = this.fields.find((each) => each.name === field.atMost);
    const below = this.fields.find((each) => each.atMost === field.name);
    if (above && value > this.value(above)) return { [above.name]: value };
    if (below && value < this.value(below)) return { [below.name]: value };
    return {};
  }

  /** Whether a value is not what the form starts with. @param {Field} field */
  isChanged(field) {
    const { values } = this.draft;
    if (isEnd(field)) return this.value(field) !== this.base(field);
    return field.name in values && !isAsset(field) && !same(values[field.name], this.base(field));
  }

  /** Whether the take cannot be retaken: an edit, a repaint or an extension is no song of a seed and a length. */
  get isNoSong() {
    if (!tabOf(this.tab).retakes || !this.origin?.run) return false;
    const given = ["seed", "duration"].map((name) => this.field(name));
    return !given.every((field) => field && this.value(field) !== undefined);
  }

  /** A field by its name. @param {string} name */
  field(name) {
    return this.fields.find((field) => field.name === name) ?? null;
  }
}

const same = (/** @type {any} */ a, /** @type {any} */ b) => JSON.stringify(a) === JSON.stringify(b);

/** The graph whose fields a tab shows; null where the tab is that of a graph. @param {string} tab */
export function graphOf(tab) {
  const draft = draftOf(tab).value;
  const graph = tabOf(tab).graph(draft, seedCount(draft));
  if (!(tab in TABS)) return null;
  return graph === "lyric-chain" && tab === "edit" ? "edit" : graph;
}

/** The form of a tab; null until its graph's interface is loaded.
 * @param {string} tab @returns {View | null} */
export function viewOf(tab) {
  const draft = draftOf(tab).value;
  const graph = tabOf(tab).graph(draft, seedCount(draft));
  const shown = graphOf(tab) ?? graph;
  const known = interfaces.value[shown];
  if (known) return new View(tab, graph, known.fields, known.summary);
  if (!asked.has(shown)) {
    asked.add(shown);
    interfaceOf(shown).catch((error) => {
      asked.delete(shown);
      blame(error, null);
    });
  }
  return null;
}

/**
 * The runs that the form asks for: one, or one for each seed where the graph takes one seed.
 *
 * @param {string} tab
 * @param {boolean} isPlan  seeds that are not locked stay to be drawn
 * @returns {Promise<{graph: string, inputs: Record<string, any>[], labels: Record<string, string>}>}
 */
export async function requestOf(tab, isPlan) {
  const draft = draftOf(tab).peek();
  const graph = tabOf(tab).graph(draft, seedCount(draft));
  const view = new View(tab, graph, (await interfaceOf(graph)).fields);
  /** @type {Record<string, any>} */
  const inputs = {};
  for (const field of view.fields) {
    if (field === view.seeds || (tab === "edit" && IDLE_IN_EDITS.includes(field.name))) continue;
    const value = payload(view, field);
    if (value !== undefined && value !== null && !same(value, field.fallback)) inputs[field.name] = value;
  }
  if (tab === "edit" && graph === "lyric-chain") {
    inputs.edits = smallSteps(inputs.lyrics, draft.values.new_lyrics ?? inputs.lyrics);
  }
  const parent = tabOf(tab).retakes ? view.origin?.run?.id : null;
  /** @type {Record<string, string>} */
  const labels = { ...(parent && { parent }), ...(draft.title.trim() && { title: draft.title.trim() }) };
  if (!view.seeds) return { graph, inputs: [inputs], labels };
  const seeds = seedsOf(tab, isPlan);
  const { name } = view.seeds;
  const each = name === "seeds" ? [{ seeds }] : seeds.map((seed) => ({ [name]: seed }));
  return { graph, labels, inputs: each.map((own) => ({ ...inputs, ...own })) };
}

/** What a run is given for a field. @param {View} view @param {Field} field */
function payload(view, field) {
  if (field.name === "sound" && view.origin) {
    const isLatents = view.origin.run && assetOf(view.origin, "latents");
    return isLatents ? assetOf(view.origin, "audio") : null;
  }
  const type = itemType(field) ?? field.type;
  const assetAt = (/** @type {string} */ picked) => assetOf(originOf(view.tab, picked), type);
  const pick = view.draft.values[field.name];
  if (isAsset(field)) return pick || !field.nullable ? assetAt(pick) : null;
  if (isAssetList(field)) return view.value(field)?.map(assetAt);
  if (field.name === "lyrics" && view.draft.on.instrumental) return "[inst]";
  const before = view.tab === "edit" && field.name.startsWith("new_") && view.field(field.name.slice(4));
  return view.value(field) || (before ? view.value(before) : view.value(field)); // blank: as the source
}

/** What the server refused, at its fields and besides.
 * @type {Signal<{fields: Record<string, string>, rest: string[]}>} */
export const faults = signal({ fields: {}, rest: [] });

/** Take back what was said about a field. @param {string} name */
function forget(name) {
  if (!(name in faults.value.fields) && !faults.value.rest.length) return;
  const { [name]: _, ...fields } = faults.value.fields;
  faults.value = { fields, rest: [] };
}

/** Put the words of a refusal at the fields that they name.
 * @param {import("../http.js").ServerError} error @param {View | null} view */
export function blame(error, view) {
  const names = [...(view?.fields ?? []).map((field) => field.name), ...SEEDS];
  /** @type {Record<string, string>} */
  const fields = {};
  const rest = (error.problems ?? []).map(({ file, line, message }) => `${file}:${line}: ${message}`);
  for (const part of rest.length ? [] : error.message.split(/; (?=[a-z_]+(?:[.[][^:]*)?: )/)) {
    const name = /^([a-z_]+)(?:[.[][^:]*)?: /.exec(part)?.[1] ?? error.field?.split(/[.[]/)[0] ?? "";
    if (names.includes(name)) fields[name] = fields[name] ? `${fields[name]}; ${part}` : part;
    else if (part) rest.push(part);
  }
  faults.value = { fields, rest };
}

/** Put all settings back to what the form starts with; texts stay. @param {View} view */
export function resetAll(view) {
  const { values, seeds, locked, title } = view.draft;
  const texts = view.fields.filter(isText).map(({ name }) => name);
  const kept = Object.fromEntries(Object.entries(values).filter(([name]) => texts.includes(name)));
  change(view.tab, { ...blank(), values: kept, seeds, locked, title });
  faults.value = { fields: {}, rest: [] };
}
