/** A number: a field that takes any, and a slider over what is useful. */
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { t } from "../words.js";
import { ownValue, tied, typed } from "./labels.js";
import { asNumber, sliderOf } from "./schema.js";

/** From half a minute to four minutes, drawn here so that it is seen. */
const randomDuration = () => Math.round(30 + Math.random() * 210);

/** @param {import("./fields.js").Props & {id: string}} props */
export function NumberField({ view, field, id, error }) {
  const value = view.value(field);
  const slider = sliderOf(field);
  const shown = value ?? ownValue(field.name) ?? slider?.least ?? 0;
  const set = (/** @type {any} */ next) => view.set(field, next);
  return html`
    ${slider &&
    html`<input
      type="range"
      tabindex="-1"
      aria-hidden="true"
      min=${slider.least}
      max=${slider.greatest}
      step=${slider.step}
      value=${Number(shown)}
      class=${value === null ? "own" : ""}
      onInput=${typed((text) => set(Number(text)))}
    />`}
    <${NumberInput} id=${id} value=${value} step=${slider?.step ?? "any"} own=${ownValue(field.name)} error=${error} set=${set} />
    ${field.name === "steps" &&
    html`<span class="presets">
      ${[27, 60].map((steps) => html`<button aria-pressed=${value === steps} onClick=${() => set(steps)}>${steps}</button>`)}
    </span>`}
    ${field.name === "duration" &&
    html`<span class="presets"><button onClick=${() => set(randomDuration())}>${t("form.duration.random")}</button></span>`}
  `;
}

/**
 * A number that may be any while one types. Empty goes back.
 *
 * @param {{id: string, value: any, step: number | string, own?: any, error?: string, label?: string, set: (value: any) => void}} props
 */
export function NumberInput({ id, value, step, own, error, label, set }) {
  const [typed, type] = useState(/** @type {string | null} */ (null));
  const digits = typeof step === "number" && step < 0.1 ? 2 : 3;
  const shown = typeof value === "number" ? String(Number(value.toFixed(digits))) : (value ?? "");
  return html`<input
    id=${id}
    class="number"
    inputmode="decimal"
    aria-label=${label}
    placeholder=${own ?? ""}
    value=${typed ?? shown}
    ...${tied(id, error)}
    onInput=${(/** @type {any} */ event) => {
      type(event.target.value);
      set(event.target.value.trim() === "" ? undefined : asNumber(event.target.value.replace(",", ".")));
    }}
    onBlur=${() => type(null)}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!way || typeof value !== "number") return;
      event.preventDefault();
      type(null);
      set(Number((value + way * (typeof step === "number" ? step : 1)).toFixed(4)));
    }}
  />`;
}
