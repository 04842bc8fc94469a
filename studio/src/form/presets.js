/**
 * Presets of tags: those of the server, and one's own, which the browser keeps and a file carries elsewhere.
 */
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { FileButton, html, typed } from "../html.js";
import { keep, kept } from "../memory.js";
import { catalog } from "../model.js";
import { notice } from "../window/notice.js";
import { t } from "../words.js";

const MEMORY = "presets";

/** @param {any} each */
const isPreset = (each) =>
  typeof each?.name === "string" && each.name.trim() && typeof each.tags === "string";

/** Presets of one's own. @type {Signal<Preset[]>} */
const own = signal([kept(MEMORY, [])].flat().filter(isPreset));

/** @param {Preset[]} all */
function hold(all) {
  own.value = all;
  keep(MEMORY, all);
}

/** Add presets; those of a name that is there take its place. @param {Preset[]} added */
function add(added) {
  const names = added.map(({ name }) => name);
  hold([...own.value.filter(({ name }) => !names.includes(name)), ...added]);
}

/** Take in a file of presets, as the page writes it. @param {File} file */
async function read(file) {
  const content = await file.text().then(JSON.parse).catch(() => null);
  if (!Array.isArray(content) || !content.length || !content.every(isPreset)) {
    return notice(t("form.preset.wrong", { name: file.name }), { kind: "error" });
  }
  add(content.map(({ name, tags }) => ({ name: name.trim(), tags })));
  notice(t("form.preset.imported", { count: content.length }));
}

const link = () => `data:application/json,${encodeURIComponent(JSON.stringify(own.value, null, 2))}`;

/** @param {{view: View}} props */
export function Presets({ view }) {
  const [name, rename] = useState(/** @type {string | null} */ (null));
  const tags = view.field("tags");
  if (!tags) return null;
  const { model, presets } = catalog.value;
  const text = view.value(tags) ?? "";
  const groups = /** @type {[string, Preset[]][]} */ ([
    [model.name, presets.filter((preset) => preset.model && preset.model === model.name)],
    [t("form.preset.any"), presets.filter((preset) => !preset.model)],
    [t("form.preset.own"), own.value],
  ]);
  const all = groups.flatMap(([, some]) => some);
  const at = all.findLastIndex((preset) => preset.tags === text);
  const isOwn = own.value.includes(all[at]);
  const save = () => {
    if (name?.trim()) add([{ name: name.trim(), tags: text }]);
    rename(null);
  };
  const choose = typed((chosen) => chosen !== "-1" && view.set(tags, all[Number(chosen)].tags));
  return html`
    <div class="field">
      <label for="preset">${t("form.preset")}</label>
      <div class="line">
        <select id="preset" value=${String(at)} onChange=${choose}>
          <option value="-1">${t("form.preset.custom")}</option>
          ${groups.map(([label, some]) => some.length > 0 && html`
            <optgroup label=${label}>
              ${some.map((each) => html`<option value=${String(all.indexOf(each))}>${each.name}</option>`)}
            </optgroup>`)}
        </select>
        ${at < 0 && text && name === null &&
        html`<button class="small" onClick=${() => rename("")}>${t("form.preset.save")}</button>`}
        ${isOwn &&
        html`<button class="small" onClick=${() => hold(own.value.filter((each) => each !== all[at]))}>
          ${t("form.preset.delete")}
        </button>`}
        ${own.value.length > 0 &&
        html`<a class="small" download="presets.json" href=${link()}>${t("form.preset.export")}</a>`}
        <${FileButton} label=${t("form.preset.import")} accept=".json" take=${read} />
      </div>
      ${name !== null &&
      html`<div class="line">
        <input
          aria-label=${t("form.preset.name")} placeholder=${t("form.preset.name")} value=${name}
          onInput=${typed(rename)}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && save()}
        />
        <button class="small" onClick=${save}>${t("form.preset.save")}</button>
      </div>`}
    </div>
  `;
}
