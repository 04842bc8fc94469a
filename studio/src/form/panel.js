/** One form: the fields of a tab's graph in their places. */
import { useEffect, useRef } from "preact/hooks";
import { go } from "../address.js";
import { html, typed } from "../html.js";
import { marking, span } from "../span.js";
import { number, t } from "../words.js";
import { change, put } from "./drafts.js";
import { FieldRow } from "./fields.js";
import { known, labelOf } from "./labels.js";
import { secondsOf } from "./origin.js";
import { Presets } from "./presets.js";
import { Starts } from "./starts.js";
import { Foot } from "./run.js";
import { isAsset, isText } from "./schema.js";
import { Seeds } from "./seeds.js";
import { Picker } from "./sources.js";
import { After, EditKind, Switches } from "./extras.js";
import { IDLE_IN_EDITS, placed, TABS } from "./tabs.js";
import { faults, resetAll, viewOf } from "./view.js";

/** @param {{tab: string}} props */
export function Panel({ tab }) {
  const view = viewOf(tab);
  useMarking(view);
  useEffect(() => () => void (faults.value = { fields: {}, rest: [] }), []);
  const { rest } = faults.value;
  if (!view && !rest.length) return html`<p class="quiet" role="status">${t("form.loading")}</p>`;
  if (!view) return html`<ul role="alert">${rest.map((text) => html`<li class="wrong">${text}</li>`)}</ul>`;
  return html`
    ${!(tab in TABS) && html`<p class="quiet">${known(`form.graph.${view.graph}`, view.summary)}</p>`}
    ${tab === "retake" ? html`<${Retake} view=${view} />` : html`<${Fields} view=${view} />`}
    <${Title} view=${view} />
    <${Foot} view=${view} />
  `;
}

/** What the takes will be called. @param {{view: View}} props */
function Title({ view }) {
  return html`
    <div class="field">
      <label for="title">${t("form.title")}</label>
      <input
        id="title" maxlength="500" value=${view.draft.title} placeholder=${t("form.title.none")}
        onInput=${typed((title) => change(view.tab, { title }))}
      />
    </div>
  `;
}

/** Tell the waveform what may be marked, and begin with a span that lies in the song.
 * @param {View | null} view */
function useMarking(view) {
  const auto = useRef("");
  const kind = view?.field("span") ? "span" : view?.field("left") && view.field("right") ? "ends" : "none";
  const seconds = view?.origin ? secondsOf(view.origin) : null;
  useEffect(() => {
    marking.value = kind;
    return () => void (marking.value = "none");
  }, [kind]);
  useEffect(() => {
    if (kind !== "span" || !seconds) return;
    const [start, end] = span.value;
    const isAuto = end === 0 || String(span.value) === auto.current;
    if (isAuto) span.value = [0, Math.min(30, seconds)];
    else if (end > seconds) span.value = [start < seconds ? start : 0, seconds];
    if (isAuto) auto.current = String(span.value);
  }, [kind, seconds]);
}

/** @param {{view: View}} props */
function Fields({ view }) {
  const { tab, fields } = view;
  const isEdit = tab === "edit";
  const pickers = fields.filter((field) => isAsset(field) && field.name !== "sound");
  const isIdle = (/** @type {Field} */ { name }) => isEdit && IDLE_IN_EDITS.includes(name);
  const others = fields.filter((field) => field !== view.seeds && !isAsset(field) && !isIdle(field));
  const { main, sound, voice, more } = placed(others, tab);
  const given = isEdit ? main.filter(({ name }) => name === "tags" || name === "lyrics") : [];
  const asked = main.filter((field) => !given.includes(field));
  const errors = faults.value.fields;
  const row = (/** @type {Field} */ field) =>
    html`<${FieldRow} key=${field.name} view=${view} field=${field} error=${errors[field.name]} />`;
  return html`
    <${Starts} view=${view} />
    ${pickers.map(row)}
    <${Group} name="given" view=${view} fields=${given} isOpen=${!view.origin?.run} row=${row} />
    ${!view.origin && html`<${Presets} view=${view} />`}
    ${isEdit && html`<${EditKind} view=${view} />`}
    ${asked.map((field) => [row(field), html`<${After} view=${view} field=${field} />`])}
    ${view.seeds && html`<${Seeds} view=${view} error=${errors[view.seeds.name]} />`}
    <${Switches} view=${view} />
    <${Group} name="sound" view=${view} fields=${sound} row=${row} note=${isEdit ? "form.edit.idle" : ""} />
    <${Group} name="voice" view=${view} fields=${voice} row=${row} />
    <${Group} name="more" view=${view} fields=${more} row=${row} />
    <${ResetAll} view=${view} />
  `;
}

/**
 * Fields that are folded away; open where the server refuses one.
 *
 * @param {{name: string, view: View, fields: Field[], row: (field: Field) => any,
 *   isOpen?: boolean, note?: string}} props
 */
function Group({ name, view, fields, row, isOpen = false, note = "" }) {
  const details = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  const changed = fields.filter((field) => view.isChanged(field)).length;
  const isBad = fields.some((field) => faults.value.fields[field.name]);
  useEffect(() => {
    if (details.current && (isOpen || isBad)) details.current.open = true;
  }, [isOpen, isBad]);
  if (!fields.length) return null;
  const mark = changed > 0 && html` <small class="mark">${t("form.changed", { count: changed })}</small>`;
  return html`
    <details ref=${details}>
      <summary>${t(`form.group.${name}`)}${mark}</summary>
      ${note && html`<p class="quiet">${t(note)}</p>`}
      <${BothScales} view=${view} name=${name} />
      ${fields.map(row)}
    </details>
  `;
}

/** Two scales above 1 replace the one. @param {{view: View, name: string}} props */
function BothScales({ view, name }) {
  const scales = ["guidance_scale_text", "guidance_scale_lyric"].map((each) => view.field(each));
  if (name !== "sound" || !scales.every((field) => field && view.value(field) > 1)) return null;
  return html`<p class="warn" role="status">${t("form.scales")}</p>`;
}

/** @param {{view: View}} props */
function ResetAll({ view }) {
  const count = view.fields.filter((field) => view.isChanged(field) && !isText(field)).length;
  if (!count) return null;
  return html`<button class="small" onClick=${() => resetAll(view)}>${t("form.reset", { count })}</button>`;
}

/** A value in words. @param {Field} field @param {any} value */
function shown(field, value) {
  if (typeof value === "boolean") return t(value ? "form.on" : "form.off");
  return field.type === "float" ? number(value) : String(value);
}

/** A retake takes all but its variance from a take. @param {{view: View}} props */
function Retake({ view }) {
  const variance = view.field("variance");
  const rest = view.fields.filter((field) => field !== variance && field !== view.seeds);
  const repaintAll = () => {
    span.value = [0, (view.origin && secondsOf(view.origin)) ?? 0];
    put("repaint", { source: view.draft.values.take, variance: 1 });
    go({ tab: "repaint" });
  };
  const { take = "", variance: amount } = view.draft.values;
  const pick = (/** @type {string} */ picked) => {
    change(view.tab, { values: { take: picked, variance: amount } });
  };
  return html`
    <div class="field">
      <label for="field-take">${t("form.field.take")}</label>
      <${Picker} id="field-take" tab=${view.tab} type="music" takesOnly=${true} value=${take} set=${pick} />
    </div>
    ${view.isNoSong
      ? html`
        <p class="warn">
          ${t("form.retake.none")}${" "}
          <button class="small" onClick=${repaintAll}>${t("form.use.repaint")}</button>
        </p>`
      : html`
        <${FieldRow} view=${view} field=${variance} error=${faults.value.fields.variance} />
        <${Seeds} view=${view} error=${faults.value.fields.retake_seed} />
        <h2>${t("form.retake.taken")}</h2>
        <dl class="taken">
          ${rest.map((field) => html`<${Taken} field=${field} value=${view.value(field)} />`)}
        </dl>`}
  `;
}

/** @param {{field: Field, value: any}} props */
function Taken({ field, value }) {
  if ([null, undefined, ""].includes(value)) return null;
  return html`<div><dt>${labelOf(field.name)}</dt><dd>${shown(field, value)}</dd></div>`;
}
