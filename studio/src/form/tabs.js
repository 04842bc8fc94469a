/** The five tabs of the form. Any other name of a tab is that of a graph, which stands under More. */

/**
 * @typedef {object} Tab
 * @property {string[]} graphs  those that it submits
 * @property {(draft: Draft, seeds: number) => string} graph  the one for its switches
 * @property {Record<string, any>} [start]  values that it starts with, where they are not the graph's
 * @property {boolean} [retakes]  whether all but the variance comes from a take
 */

/** @type {Record<string, Tab>} */
export const TABS = {
  text2music: {
    graphs: ["text2music", "batch-takes", "best-of", "audio2audio"],
    graph: ({ on }, seeds) =>
      on.audio2audio ? "audio2audio" : on.best ? "best-of" : seeds > 1 ? "batch-takes" : "text2music",
  },
  retake: { graphs: ["retake"], graph: () => "retake", start: { variance: 0.2 }, retakes: true },
  repaint: {
    graphs: ["repaint", "variation-in-span"],
    graph: ({ on }) => (on.gentle ? "variation-in-span" : "repaint"),
    start: { variance: 0.2 },
  },
  edit: {
    graphs: ["edit", "edit-lyrics", "remix", "lyric-chain"],
    graph: ({ on }) => (on.small ? "lyric-chain" : "edit"),
    start: { minimum: 0.6, maximum: 1 },
  },
  extend: { graphs: ["extend"], graph: () => "extend", start: { left: 0, right: 30 } },
};

/** @param {string} name @returns {Tab} */
export const tabOf = (name) => TABS[name] ?? { graphs: [name], graph: () => name };

/** The tab of a graph. @param {string} graph */
export const placeOf = (graph) =>
  Object.keys(TABS).find((name) => TABS[name].graphs.includes(graph)) ?? graph;

/** Kinds of edits, with the share of the steps that each takes. @type {Record<string, [number, number]>} */
export const EDITS = { only_lyrics: [0.6, 1], remix: [0.2, 0.4] };

/** What has no effect in an edit, so it is not offered there. */
export const IDLE_IN_EDITS = [
  ..."guidance guidance_interval omega erg_tag erg_lyric erg_diffusion oss_steps".split(" "),
];

const SOUND =
  "solver guidance_scale guidance_scale_text guidance_scale_lyric guidance omega guidance_interval " +
  "guidance_decay guidance_minimum erg_tag erg_lyric erg_diffusion oss_steps";
const VOICE = "language adapter adapter_weight";
const MAIN =
  "span left right strength variance tags lyrics new_tags new_lyrics instrument instruments opening " +
  "sections edits duration seconds minimum maximum by prefer steps";

/** @type {Record<string, string[]>} */
const PLACES = { main: MAIN.split(" "), sound: SOUND.split(" "), voice: VOICE.split(" ") };

/**
 * Where fields stand: `main`, `sound`, `voice`, and `more` for the rest; under More what a graph has for
 * itself is main.
 *
 * @param {Field[]} fields
 * @param {string} tab
 */
export function placed(fields, tab) {
  /** @type {Record<string, Field[]>} */
  const groups = { main: [], sound: [], voice: [], more: [] };
  for (const field of fields) {
    const place = Object.keys(PLACES).find((name) => PLACES[name].includes(field.name));
    const isOwn = !(tab in TABS) && !field.advanced && place !== "sound";
    groups[isOwn ? "main" : (place ?? "more")].push(field);
  }
  for (const [name, order] of Object.entries(PLACES)) {
    const rank = (/** @type {{name: string}} */ field) => (order.indexOf(field.name) + 1 || 99);
    groups[name].sort((a, b) => rank(a) - rank(b));
  }
  return groups;
}
