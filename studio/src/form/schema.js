/** Reads a graph's JSON Schema as the fields of a form. */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} type  in the graph's own words: text, float, int, bool, seed, span, music, list of text,
 *   ...
 * @property {string[] | null} choices
 * @property {number | null} minimum
 * @property {number | null} maximum
 * @property {boolean} nullable  null means the model's or the stage's own
 * @property {any} fallback  what counts where the run gives nothing; undefined where it must give something
 * @property {boolean} advanced
 * @property {string} unit
 * @property {string} description
 * @property {string | null} atMost  the field that this one may not exceed
 */

const ASSETS = ["audio", "music", "latents"];

/** Whether a field is read from a take or a file. @param {Field} field */
export const isAsset = (field) => ASSETS.includes(field.type);

/** What the items of a list are; null for what is no list. @param {Field} field */
export const itemType = (field) => /^list of (.+)$/.exec(field.type)?.[1] ?? null;

/** Whether a field is a text, or a list of them, that one writes. @param {Field} field */
export const isText = ({ type, choices }) => type.endsWith("text") && !choices;

/** Whether a field is a list of takes or files. @param {Field} field */
export const isAssetList = (field) => ASSETS.includes(itemType(field) ?? "");

/** @param {any} schema @returns {Field[]} */
export function fieldsOf(schema) {
  return Object.entries(schema.properties).map(([name, whole]) => {
    const kinds = whole.anyOf ?? [whole];
    const inner =
      kinds.find((/** @type {any} */ kind) => kind.type !== "null" && !("const" in kind)) ?? whole;
    return {
      name,
      type: whole["x-type"] ?? inner.type ?? "text",
      choices: inner.enum ?? null,
      minimum: inner.minimum ?? null,
      maximum: inner.maximum ?? null,
      nullable: kinds.some((/** @type {any} */ kind) => kind.type === "null"),
      fallback: whole.default,
      advanced: whole["x-advanced"] === true,
      unit: whole["x-unit"] ?? "",
      description: whole.description ?? "",
      atMost: whole["x-at-most"] ?? null,
    };
  });
}

/** Ranges of sliders where the useful one is narrower than the allowed one.
 * @type {Record<string, [number, number]>} */
const USEFUL = { adapter_weight: [-3, 3] };

const FINE = [
  "variance",
  "strength",
  "minimum",
  "maximum",
  "guidance_interval",
  "guidance_decay",
  "left",
  "right",
];

/** Least, greatest and step of a field's slider; null where it has no bounds. @param {Field} field */
export function sliderOf(field) {
  const [least, greatest] = USEFUL[field.name] ?? [field.minimum, field.maximum];
  if (least === null || greatest === null || greatest - least > 1e6) return null;
  const step = field.type === "int" ? 1 : FINE.includes(field.name) || greatest - least <= 1 ? 0.01 : 0.1;
  return { least, greatest, step };
}

/** The number that a text means; the text where it means none, so that the server can say so.
 * @param {string} text */
export const asNumber = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);

/** The numbers of "1, 2, 3". @param {string} text */
export const asList = (text) => text.split(/[\s,;]+/).filter(Boolean).map(asNumber);
