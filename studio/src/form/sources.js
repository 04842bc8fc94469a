/** The picker of sources: the chosen take, the last of this tab, any take, an upload. */
import { useEffect } from "preact/hooks";
import { chosen } from "../address.js";
import { FileButton, html, typed } from "../html.js";
import { titleOf } from "../takes/facts.js";
import { takes } from "../takes/store.js";
import { number, t } from "../words.js";
import { tied } from "./labels.js";
import { take } from "./drop.js";
import { assetOf, isUsable, lostLatents, originOf, outputsOf, secondsOf } from "./origin.js";
import { loadUploads, uploads } from "./origin.js";
import { sending } from "./upload.js";

const MOST = 100;

/** @param {FieldProps} props */
export function SourcePicker({ view, field, id, error }) {
  const { name, type, nullable } = field;
  const picker = { id, tab: view.tab, type, error, isOptional: nullable };
  const value = view.draft.values[name] ?? (nullable ? "none" : "");
  const set = (/** @type {string} */ picked) => {
    view.set(field, ["", "none"].includes(picked) ? undefined : picked);
  };
  return html`<${Picker} ...${picker} value=${value} set=${set} />`;
}

/** Each of a take's results as a choice. @param {Run} run */
function choicesOf(run) {
  const count = Math.max(outputsOf(run, "latents").length, outputsOf(run, "audio").length);
  const title = titleOf(run).slice(0, 60);
  return Array.from({ length: count }, (_, item) => {
    const name = [title, ...(count > 1 ? [item + 1] : []), run.graph].join(" · ");
    return html`<option value=${`run:${run.id}:${item}`}>${name}</option>`;
  });
}

/** What was picked, in words. @param {string} value @param {Origin} origin */
function said(value, origin) {
  if (value === "none") return "";
  const seconds = secondsOf(origin);
  const name = origin.upload?.file_name ?? (origin.run && titleOf(origin.run));
  const waits = origin.run && chosen.value && value === "" && origin.run.id !== chosen.value;
  const parts = [name, seconds && `${number(seconds)} s`, waits && t("form.source.waiting")];
  return parts.filter(Boolean).join(" · ");
}

/**
 * @param {{id: string, tab: string, type: string, value: string, set: (value: string) => void,
 *   isOptional?: boolean, takesOnly?: boolean, label?: string, error?: string}} props
 */
export function Picker({ id, tab, type, value, set, isOptional = false, takesOnly = false, label, error }) {
  const load = () => void (takesOnly || loadUploads().catch(() => {}));
  useEffect(() => (value === "none" ? undefined : load()), []); // else when it is looked into
  const origin = originOf(tab, value);
  const usable = [...takes.value.values()].filter(isUsable).slice(0, MOST);
  const isMissing = value !== "none" && !assetOf(origin, type);
  const listed = [...usable.map(({ id }) => `run:${id}`), ...uploads.value.map(({ id }) => `asset:${id}`)];
  const isListed = !value.includes(":") || listed.includes(value.split(":", 2).join(":"));
  const choose = { value, onFocus: load, onChange: typed(set), "aria-label": label, ...tied(id, error) };
  return html`
    <div class="picker">
      <div class="line">
        <select id=${id} ...${choose}>
          ${isOptional && html`<option value="none">${t("form.source.none")}</option>`}
          <option value=${isOptional ? "chosen" : ""}>${t("form.source.chosen")}</option>
          <option value="song">${t("form.source.song")}</option>
          ${tab !== "text2music" && html`<option value="last">${t("form.source.last")}</option>`}
          ${!isListed && html`<option value=${value}>${origin.upload?.file_name ?? value}</option>`}
          <optgroup label=${t("form.source.takes")}>${usable.flatMap(choicesOf)}</optgroup>
          ${!takesOnly && html`
            <optgroup label=${t("form.source.uploads")}>
              ${uploads.value.map((each) => html`
                <option value=${`asset:${each.id}`}>${each.file_name}</option>`)}
            </optgroup>`}
        </select>
        ${!takesOnly && type !== "latents" && html`
          <${FileButton}
            label=${t("form.upload")} accept="audio/*,.caf,.aiff,.flac,.ogg"
            take=${(/** @type {File} */ file) => take(file, set)}
          />`}
      </div>
      ${sending.value && !takesOnly && html`
        <label class="quiet">
          ${t("form.upload.sending", { name: sending.value.name })} <progress value=${sending.value.share} />
        </label>`}
      ${isMissing
        ? html`<p class="warn">${t("form.source.missing")}</p>`
        : html`<p class="quiet">${said(value, origin)}</p>`}
      ${type !== "audio" && !takesOnly && lostLatents(origin) &&
      html`<p class="warn">${t("form.source.expired")}</p>`}
    </div>
  `;
}
