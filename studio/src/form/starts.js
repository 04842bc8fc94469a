/** Where a song can begin: presets of tags, an example, or settings that were used before. */
import { useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { model } from "../model.js";
import { take as chosenTake } from "../takes/store.js";
import { t } from "../words.js";
import { typed } from "./labels.js";
import { examples, keepPresets, ownPresets, presets } from "./catalog.js";
import { loadFile, loadSettings } from "./load.js";
import { say } from "./messages.js";

let last = -1;

/** Another example than the last one; with an adapter chosen, one that is for it if there is one. @param {string | null} adapter */
async function loadExample(adapter) {
  const marked = examples.value.filter(({ inputs }) => adapter && inputs.adapter === adapter);
  const all = marked.length ? marked : examples.value;
  if (!all.length) return;
  last = (last + 1 + Math.floor(Math.random() * Math.max(1, all.length - 1))) % all.length;
  const { graph, inputs, name } = all[last];
  await loadSettings(graph, adapter ? { adapter, ...inputs } : inputs);
  say(t("form.example.loaded", { name }));
}

/** Settings of the chosen take. @param {import("../types.js").Run} run */
async function loadTake(run) {
  await loadSettings(run.graph, run.inputs ?? {}, { source: run.id });
  say(t("form.loaded", { name: run.labels.title ?? run.graph }));
}

/** @param {{view: import("./view.js").View}} props */
export function Starts({ view }) {
  /** @type {{current: HTMLInputElement | null}} */
  const file = useRef(null);
  const adapter = view.field("adapter");
  const run = chosenTake.value;
  return html`
    <div class="line starts">
      ${!view.origin &&
      html`<button class="small" onClick=${() => loadExample(adapter && (view.value(adapter) ?? null))}>${t("form.example")}</button>`}
      <button class="small" disabled=${!run?.inputs} onClick=${() => run && loadTake(run)}>${t("form.load.take")}</button>
      <button class="small" onClick=${() => file.current?.click()}>${t("form.load")}</button>
      <input
        ref=${file}
        type="file"
        hidden
        aria-label=${t("form.load")}
        accept=".json,audio/*,.flac,.ogg"
        onChange=${(/** @type {any} */ event) => event.target.files[0] && loadFile(event.target.files[0]).finally(() => (event.target.value = ""))}
      />
    </div>
  `;
}

/** @param {{view: import("./view.js").View}} props */
export function Presets({ view }) {
  const [name, rename] = useState(/** @type {string | null} */ (null));
  const tags = view.field("tags");
  if (!tags) return null;
  const text = view.value(tags) ?? "";
  const fits = presets.value.filter((preset) => !preset.model || preset.model === model.value?.name);
  const all = [...fits.filter((preset) => preset.model), ...fits.filter((preset) => !preset.model), ...ownPresets.value];
  const at = all.findLastIndex((preset) => preset.tags === text);
  const isOwn = at >= fits.length;
  const save = () => {
    if (name?.trim()) keepPresets([...ownPresets.value.filter((preset) => preset.name !== name.trim()), { name: name.trim(), tags: text }]);
    rename(null);
  };
  const remove = () => keepPresets(ownPresets.value.filter((preset) => preset !== all[at]));
  const options = (/** @type {import("./catalog.js").Preset[]} */ some) =>
    some.map((preset) => html`<option value=${String(all.indexOf(preset))}>${preset.name}</option>`);
  return html`
    <div class="field">
      <label for="preset">${t("form.preset")}</label>
      <div class="line">
        <select id="preset" value=${String(at)} onChange=${typed((text) => text !== "-1" && view.set(tags, all[Number(text)].tags))}>
          <option value="-1">${t("form.preset.custom")}</option>
          <optgroup label=${model.value?.name ?? ""}>${options(fits.filter((preset) => preset.model))}</optgroup>
          <optgroup label=${t("form.preset.any")}>${options(fits.filter((preset) => !preset.model))}</optgroup>
          <optgroup label=${t("form.preset.own")}>${options(ownPresets.value)}</optgroup>
        </select>
        ${at < 0 && text && name === null && html`<button class="small" onClick=${() => rename("")}>${t("form.preset.save")}</button>`}
        ${isOwn && html`<button class="small" onClick=${remove}>${t("form.preset.delete")}</button>`}
        ${ownPresets.value.length > 0 &&
        html`<a class="small" download="presets.json" href=${`data:application/json,${encodeURIComponent(JSON.stringify(ownPresets.value))}`}>
          ${t("form.preset.export")}
        </a>`}
      </div>
      ${name !== null &&
      html`<div class="line">
        <input aria-label=${t("form.preset.name")} placeholder=${t("form.preset.name")} value=${name} onInput=${typed((text) => rename(text))}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && save()} />
        <button class="small" onClick=${save}>${t("form.preset.save")}</button>
      </div>`}
    </div>
  `;
}
