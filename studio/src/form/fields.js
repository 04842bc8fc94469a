/** One control for each type of field. */
import { html, Segments, Select, typed } from "../html.js";
import { catalog } from "../model.js";
import { language, t } from "../words.js";
import { hintOf, known, labelOf, ownText, tied } from "./labels.js";
import { LyricsField, TagsField } from "./lyrics.js";
import { asList, isAsset, isAssetList, itemType } from "./schema.js";
import { NumberField, SpanField } from "./number.js";
import { Rows } from "./rows.js";
import { SourcePicker } from "./sources.js";

/** @typedef {{view: View, field: Field, error?: string}} Props */

/** Label, mark of a change, control, hint and error of a field. @param {Props} props */
export function FieldRow({ view, field, error }) {
  const [Control, kind] = controlOf(field);
  const isChanged = view.isChanged(field);
  const id = `field-${field.name}`;
  const hint = hintOf(field);
  const isGroup = Control === SpanField || (Control === Choice && isSegmented(field));
  const isOwn = Control === NumberField && field.nullable && (view.value(field) ?? null) === null;
  const unit = field.unit && html` <small>${field.unit}</small>`;
  const own = isOwn && html`<small class="ownvalue">${ownText(field.name)}</small>`;
  const label = html`${labelOf(field.name)}${unit}${own}`;
  const back = {
    title: t("form.back"),
    "aria-label": t("form.back.of", { name: labelOf(field.name) }),
    onClick: () => view.set(field, undefined),
  };
  return html`
    <div class=${`field ${kind} ${isChanged ? "changed" : ""} ${error ? "bad" : ""}`}>
      ${isGroup
        ? html`<span class="label" id=${`${id}-label`}>${label}</span>`
        : html`<label for=${id}>${label}</label>`}
      ${isChanged && html`<button class="back" ...${back}>↺</button>`}
      <${Control} view=${view} field=${field} id=${id} error=${error} />
      ${hint && html`<p class="quiet hint" id=${`${id}-hint`}>${hint}</p>`}
      ${error && html`<p class="wrong" id=${`${id}-error`}>${error}</p>`}
    </div>
  `;
}

/** What is installed on the server, by the fields that name it.
 * @type {Record<string, () => {name: string}[]>} */
const INSTALLED = { adapter: () => catalog.value.adapters, control_branch: () => catalog.value.controls };

/** Languages that lyrics can be encoded in. */
const LYRICS = "ar cs de en es fr hi hu it ja ko nl pl pt ru tr zh".split(" ");

/** The control of a field, and the class of its row. @param {Field} field @returns {[any, string]} */
function controlOf(field) {
  const { name, type } = field;
  if (isAsset(field)) return [SourcePicker, ""];
  if (type === "span") return [SpanField, ""];
  if (name === "tags" || name === "new_tags") return [TagsField, ""];
  if (/lyrics|opening/.test(name) && type === "text") return [LyricsField, ""];
  if (type === "bool" || field.choices || name === "language" || name in INSTALLED) return [Choice, ""];
  if (type === "float" || type === "int") return [NumberField, "numbers"];
  if (isAssetList(field) || itemType(field) === "text") return [Rows, ""];
  return [TextField, ""];
}

/** @param {Field} field @returns {[any, string][]} */
function choicesOf({ name, type, choices }) {
  if (type === "bool") return [[true, t("form.on")], [false, t("form.off")]];
  if (name in INSTALLED) return INSTALLED[name]().map((each) => [each.name, each.name]);
  if (name !== "language")
    return (choices ?? []).map((choice) => [choice, known(`form.choice.${choice}`, choice)]);
  const names = new Intl.DisplayNames(language.value, { type: "language" });
  return LYRICS.map((code) => [code, names.of(code) ?? code]);
}

/** Few choices stand side by side, many in a list. @param {Field} field */
const isSegmented = (field) => field.type === "bool" || (!!field.choices && field.choices.length <= 4);

/** @param {Props & {id: string}} props */
function Choice({ view, field, id, error }) {
  const value = view.value(field) ?? null;
  const choices = choicesOf(field);
  if (field.nullable) choices.unshift([null, ownText(field.name)]);
  if (value !== null && !choices.some(([each]) => each === value)) choices.push([value, String(value)]);
  const set = (/** @type {any} */ chosen) => view.set(field, chosen);
  if (isSegmented(field)) {
    const rest = { "aria-labelledby": `${id}-label`, ...tied(id, error) };
    return html`<${Segments} name=${id} value=${value} options=${choices} set=${set} ...${rest} />`;
  }
  const options = choices.map(([, text], at) => [at, text]);
  const at = choices.findIndex(([each]) => each === value);
  const pick = (/** @type {string} */ chosen) => set(choices[Number(chosen)][0]);
  return html`<${Select} id=${id} value=${at} options=${options} set=${pick} ...${tied(id, error)} />`;
}

/** A line of text; numbers where the field is a list of them. @param {Props & {id: string}} props */
function TextField({ view, field, id, error }) {
  const isNumbers = ["int", "float", "seed"].includes(itemType(field) ?? "");
  const value = view.value(field);
  const read = (/** @type {string} */ text) => {
    if (text.trim() === "" && field.nullable) return null;
    return isNumbers ? asList(text) : field.type === "seed" && /^\d+$/.test(text) ? Number(text) : text;
  };
  return html`<input
    id=${id} value=${Array.isArray(value) ? value.join(", ") : (value ?? "")}
    placeholder=${field.nullable ? ownText(field.name) : ""} ...${tied(id, error)}
    onChange=${typed((text) => view.set(field, read(text)))}
  />`;
}
