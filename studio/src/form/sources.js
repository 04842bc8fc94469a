/** The picker of sources: the chosen take, the last of this tab, any take, an upload. */
import { useEffect, useRef } from "preact/hooks";
import { chosen } from "../address.js";
import { html } from "../html.js";
import { takes } from "../takes/store.js";
import { number, t } from "../words.js";
import { tied, typed } from "./labels.js";
import { take } from "./drop.js";
import { assetOf, isUsable, loadUploads, lostLatents, originOf, outputsOf, secondsOf, titleOf, uploads } from "./origin.js";
import { sending } from "./upload.js";

const MOST = 100;

/** @param {import("./fields.js").Props & {id: string}} props */
export function SourcePicker({ view, field, id, error }) {
  const set = (/** @type {string} */ value) => view.set(field, value === "none" ? undefined : value || undefined);
  return html`<${Picker} id=${id} tab=${view.tab} type=${field.type} value=${view.draft.values[field.name] ?? (field.nullable ? "none" : "")}
    isOptional=${field.nullable} error=${error} set=${set} />`;
}

/**
 * @param {{id: string, tab: string, type: string, value: string, set: (value: string) => void, isOptional?: boolean,
 *   takesOnly?: boolean, label?: string, error?: string}} props
 */
export function Picker({ id, tab, type, value, set, isOptional = false, takesOnly = false, label, error }) {
  /** @type {{current: HTMLInputElement | null}} */
  const file = useRef(null);
  useEffect(() => void (takesOnly || loadUploads().catch(() => {})), []);
  const origin = originOf(tab, value);
  const usable = [...takes.value.values()].filter(isUsable).slice(0, MOST);
  const seconds = secondsOf(origin);
  const isMissing = value !== "none" && !assetOf(origin, type);
  const listed = [...usable.map((run) => `run:${run.id}`), ...uploads.value.map((each) => `asset:${each.id}`)];
  const isListed = !value.includes(":") || listed.includes(value.split(":", 2).join(":"));
  return html`
    <div class="picker">
      <div class="line">
        <select id=${id} aria-label=${label} value=${value} ...${tied(id, error)} onChange=${typed((text) => set(text))}>
          ${isOptional && html`<option value="none">${t("form.source.none")}</option>`}
          <option value=${isOptional ? "chosen" : ""}>${t("form.source.chosen")}</option>
          <option value="song">${t("form.source.song")}</option>
          ${tab !== "text2music" && html`<option value="last">${t("form.source.last")}</option>`}
          ${!isListed && html`<option value=${value}>${origin.upload?.file_name ?? value}</option>`}
          <optgroup label=${t("form.source.takes")}>
            ${usable.flatMap((run) => {
              const items = Math.max(outputsOf(run, "latents").length, outputsOf(run, "audio").length);
              const name = (/** @type {number} */ item) => `${titleOf(run).slice(0, 60)}${items > 1 ? ` · ${item + 1}` : ""} · ${run.graph}`;
              return Array.from({ length: items }, (_, item) => html`<option value=${`run:${run.id}:${item}`}>${name(item)}</option>`);
            })}
          </optgroup>
          ${!takesOnly &&
          html`<optgroup label=${t("form.source.uploads")}>
            ${uploads.value.map((each) => html`<option value=${`asset:${each.id}`}>${each.file_name}</option>`)}
          </optgroup>`}
        </select>
        ${!takesOnly &&
        type !== "latents" &&
        html`<button class="small" onClick=${() => file.current?.click()}>${t("form.upload")}</button>
          <input
            ref=${file}
            type="file"
            hidden
            aria-label=${t("form.upload")}
            accept="audio/*,.caf,.aiff,.flac,.ogg"
            onChange=${(/** @type {any} */ event) => take(event.target.files[0], set).finally(() => (event.target.value = ""))}
          />`}
      </div>
      ${sending.value && !takesOnly &&
      html`<label class="quiet">${t("form.upload.sending", { name: sending.value.name })} <progress value=${sending.value.share} /></label>`}
      <p class=${isMissing ? "warn" : "quiet"}>
        ${isMissing
          ? t("form.source.missing")
          : value === "none"
            ? ""
            : `${origin.upload?.file_name ?? (origin.run && titleOf(origin.run)) ?? ""}${seconds ? ` · ${number(seconds)} s` : ""}`}
        ${origin.run && chosen.value && value === "" && origin.run.id !== chosen.value ? ` · ${t("form.source.waiting")}` : ""}
      </p>
      ${type !== "audio" && !takesOnly && lostLatents(origin) && html`<p class="warn">${t("form.source.expired")}</p>`}
    </div>
  `;
}
