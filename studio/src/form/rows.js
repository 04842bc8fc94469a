/** A list of texts, or of takes and files: one row each. */
import { html, typed } from "../html.js";
import { t } from "../words.js";
import { Lyrics } from "./lyrics.js";
import { labelOf } from "./labels.js";
import { isAssetList, itemType } from "./schema.js";
import { Picker } from "./sources.js";

/** Lists whose items are lyrics. */
const LYRICS = ["sections", "edits"];

/** @param {FieldProps} props */
export function Rows({ view, field, id }) {
  /** @type {string[]} */
  const items = view.value(field) ?? [""];
  const set = (/** @type {string[]} */ all) => view.set(field, all);
  const put = (/** @type {number} */ at, /** @type {string} */ text) =>
    set(items.map((item, each) => (each === at ? text : item)));
  return html`
    <div class="rows">
      ${items.map((item, at) => {
        const label = `${labelOf(field.name)} ${at + 1}`;
        const own = at ? `${id}-${at}` : id;
        const props = { id: own, label, set: (/** @type {string} */ text) => put(at, text) };
        return html`<div class="line" key=${at}>
          <div class="grow">
            ${isAssetList(field)
              ? html`<${Picker} ...${props} tab=${view.tab} value=${item} type=${itemType(field)} />`
              : LYRICS.includes(field.name)
                ? html`<${Lyrics} ...${props} rows=${4} text=${item} />`
                : html`<input id=${own} aria-label=${label} value=${item} onInput=${typed(props.set)} />`}
          </div>
          <button
            class="icon" aria-label=${t("form.row.remove", { name: label })}
            onClick=${() => set(items.filter((_, each) => each !== at))}
          >✕</button>
        </div>`;
      })}
      <button class="small" onClick=${() => set([...items, ""])}>${t("form.row.add")}</button>
    </div>
  `;
}
