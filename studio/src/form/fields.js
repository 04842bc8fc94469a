/** One control for each type of field. */
import { html } from "../html.js";
import { t } from "../words.js";
import { installed, LANGUAGES_OF_LYRICS } from "./catalog.js";
import { hintOf, known, labelOf, ownText, tied, typed } from "./labels.js";
import { LyricsField, TagsField } from "./lyrics.js";
import { asList, isAsset, isAssetList, itemType } from "./schema.js";
import { NumberField } from "./number.js";
import { Rows } from "./rows.js";
import { SourcePicker } from "./sources.js";
import { SpanField } from "./span-field.js";

/** @typedef {import("./schema.js").Field} Field */
/** @typedef {{view: import("./view.js").View, field: Field, error?: string}} Props */

/** Label, mark of a change, control, hint and error of a field. @param {Props} props */
export function FieldRow({ view, field, error }) {
  const [Control, kind] = controlOf(field);
  const isChanged = view.isChanged(field);
  const id = `field-${field.name}`;
  const hint = hintOf(field);
  const isGroup = Control === SpanField || (Control === Choice && isSegmented(field));
  const isOwn = Control === NumberField && field.nullable && (view.value(field) ?? null) === null;
  const unit = field.unit && html` <small>${field.unit}</small>`;
  const label = html`${labelOf(field.name)}${unit}${isOwn && html`<small class="ownvalue">${ownText(field.name)}</small>`}`;
  return html`
    <div class=${`field ${kind} ${isChanged ? "changed" : ""} ${error ? "bad" : ""}`}>
      ${isGroup ? html`<span class="label" id=${`${id}-label`}>${label}</span>` : html`<label for=${id}>${label}</label>`}
      ${isChanged &&
      html`<button
        class="back"
        title=${t("form.back")}
        aria-label=${t("form.back.of", { name: labelOf(field.name) })}
        onClick=${() => view.set(field, undefined)}
      >
        ↺
      </button>`}
      <${Control} view=${view} field=${field} id=${id} error=${error} />
      ${hint && html`<p class="quiet hint" id=${`${id}-hint`}>${hint}</p>`}
      ${error && html`<p class="wrong" id=${`${id}-error`}>${error}</p>`}
    </div>
  `;
}

/** The control of a field, and the class of its row. @param {Field} field @returns {[any, string]} */
function controlOf(field) {
  if (isAsset(field)) return [SourcePicker, ""];
  if (field.type === "span") return [SpanField, ""];
  if (field.name === "tags" || field.name === "new_tags") return [TagsField, ""];
  if (/lyrics|opening/.test(field.name) && field.type === "text") return [LyricsField, ""];
  if (field.type === "bool" || field.choices || field.name === "language" || field.name in installed.value) return [Choice, ""];
  if (field.type === "float" || field.type === "int") return [NumberField, "numbers"];
  if (isAssetList(field) || itemType(field) === "text") return [Rows, ""];
  return [TextField, ""];
}

/** @param {Field} field @returns {[any, string][]} */
function choicesOf(field) {
  /** @type {[any, string][]} */
  const none = field.nullable ? [[null, ownText(field.name)]] : [];
  if (field.type === "bool") return [...none, [true, t("form.on")], [false, t("form.off")]];
  const names = installed.value[field.name];
  if (names) return [...none, ...names.map((name) => /** @type {[any, string]} */ ([name, name]))];
  if (field.name === "language") return [...none, ...LANGUAGES_OF_LYRICS()];
  return [...none, ...(field.choices ?? []).map((choice) => /** @type {[any, string]} */ ([choice, known(`form.choice.${choice}`, choice)]))];
}

/** Few choices stand side by side, many in a list. @param {Field} field */
const isSegmented = (field) => field.type === "bool" || (!!field.choices && field.choices.length <= 4);

/** @param {Props & {id: string}} props */
function Choice({ view, field, id, error }) {
  const value = view.value(field) ?? null;
  const choices = choicesOf(field);
  if (value !== null && !choices.some(([each]) => each === value)) choices.push([value, String(value)]);
  const pick = (/** @type {number} */ at) => view.set(field, choices[at][0]);
  const at = choices.findIndex(([each]) => each === value);
  if (!isSegmented(field)) {
    return html`<select id=${id} value=${String(at)} ...${tied(id, error)} onChange=${typed((text) => pick(Number(text)))}>
      ${choices.map(([, text], each) => html`<option value=${String(each)}>${text}</option>`)}
    </select>`;
  }
  return html`<div class="segments" role="radiogroup" aria-labelledby=${`${id}-label`} ...${tied(id, error)}>
    ${choices.map(
      ([, text], each) => html`<label>
        <input type="radio" name=${id} checked=${each === at} onChange=${() => pick(each)} /><span>${text}</span>
      </label>`,
    )}
  </div>`;
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
    id=${id}
    value=${Array.isArray(value) ? value.join(", ") : (value ?? "")}
    placeholder=${field.nullable ? ownText(field.name) : ""}
    ...${tied(id, error)}
    onChange=${typed((text) => view.set(field, read(text)))}
  />`;
}
