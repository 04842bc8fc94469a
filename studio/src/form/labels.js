/** What fields and their values are called. */
import { catalog } from "../model.js";
import { t } from "../words.js";

/** A text by its key, or what the graph itself says. @param {string} key @param {string} otherwise */
export const known = (key, otherwise) => (t(key) === key ? otherwise : t(key));

/** @param {string} name */
export const labelOf = (name) =>
  known(`form.field.${name}`, (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " "));

/** A hint in the page's language; of a field that the page does not know, the graph's description.
 * @param {Field} field */
export const hintOf = ({ name, description }) =>
  known(`form.hint.${name}`, t(`form.field.${name}`) === `form.field.${name}` ? description : "");

/** What counts where neither a run nor the model says something. @type {Record<string, any>} */
const USUAL = { adapter_weight: 1 };

/** What null means for a field. @param {string} name */
export const ownValue = (name) => catalog.value.model.sampling[name] ?? USUAL[name];

/** The same in words: "model's own (15)". @param {string} name */
export function ownText(name) {
  const own = ownValue(name);
  if (own === undefined || name in USUAL) return known(`form.own.${name}`, t("form.own.none"));
  return t("form.own", { value: typeof own === "boolean" ? t(own ? "form.on" : "form.off") : String(own) });
}

/** What ties a control to its error. @param {string} id @param {string} [error] */
export const tied = (id, error) => ({
  "aria-invalid": error ? "true" : undefined,
  "aria-describedby": error ? `${id}-error` : undefined,
});
