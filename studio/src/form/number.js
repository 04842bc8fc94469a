/** A number: a field that takes any, and a slider over what is useful. */
import { useState } from "preact/hooks";
import { html, typed } from "../html.js";
import { FRAME, span } from "../span.js";
import { number, t } from "../words.js";
import { ownValue, tied } from "./labels.js";
import { secondsOf } from "./origin.js";
import { asNumber, sliderOf } from "./schema.js";

/** From half a minute to four minutes, drawn here so that it is seen. */
const randomDuration = () => Math.round(30 + Math.random() * 210);

/** Buttons beside some numbers: their texts, and the values that they give.
 * @type {Record<string, () => [string, () => number][]>} */
const PRESETS = {
  steps: () => [27, 60].map((steps) => [String(steps), () => steps]),
  duration: () => [[t("form.duration.random"), randomDuration]],
};

/** @param {FieldProps} props */
export function NumberField({ view, field, id, error }) {
  const value = view.value(field);
  const slider = sliderOf(field);
  const own = ownValue(field.name);
  const shown = value ?? own ?? slider?.least ?? 0;
  const presets = PRESETS[field.name]?.() ?? [];
  const set = (/** @type {any} */ next) => view.set(field, next);
  return html`
    ${slider &&
    html`<input
      type="range" tabindex="-1" aria-hidden="true" min=${slider.least} max=${slider.greatest}
      step=${slider.step} value=${Number(shown)} class=${value === null ? "own" : ""}
      onInput=${typed((text) => set(Number(text)))}
    />`}
    <${NumberInput} id=${id} value=${value} step=${slider?.step} own=${own} error=${error} set=${set} />
    ${presets.length > 0 && html`
      <span class="presets">
        ${presets.map(([text, take]) => html`
          <button aria-pressed=${value === Number(text)} onClick=${() => set(take())}>${text}</button>`)}
      </span>`}
  `;
}

/**
 * A number that may be any while one types. Empty goes back.
 *
 * @param {{id: string, value: any, step?: number, own?: any, error?: string,
 *   set: (value: any) => void}} props
 */
function NumberInput({ id, value, step, own, error, set }) {
  const [text, type] = useState(/** @type {string | null} */ (null));
  const digits = step && step < 0.1 ? 2 : 3;
  const shown = typeof value === "number" ? String(Number(value.toFixed(digits))) : (value ?? "");
  return html`<input
    id=${id}
    class="number"
    inputmode="decimal"
    placeholder=${own ?? ""}
    value=${text ?? shown}
    ...${tied(id, error)}
    onInput=${typed((now) => {
      type(now);
      set(now.trim() === "" ? undefined : asNumber(now.replace(",", ".")));
    })}
    onBlur=${() => type(null)}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!way || typeof value !== "number") return;
      event.preventDefault();
      type(null);
      set(Number((value + way * (step ?? 1)).toFixed(4)));
    }}
  />`;
}

/** The span in two numbers. The waveform shows and drags the same one. @param {FieldProps} props */
export function SpanField({ view, id, error }) {
  const [start, end] = span.value;
  const seconds = view.origin && secondsOf(view.origin);
  const isBad = end - start < FRAME || (seconds && end > seconds + FRAME);
  const set = {
    start: (/** @type {any} */ value) => (span.value = [value ?? 0, span.peek()[1]]),
    end: (/** @type {any} */ value) => (span.value = [span.peek()[0], value ?? seconds ?? 30]),
    all: () => (span.value = [0, seconds ?? 30]),
  };
  return html`
    <div class="line span" role="group" aria-labelledby="${id}-label" aria-describedby="${id}-note">
      <label for=${id}>${t("form.span.start")}</label>
      <${NumberInput} id=${id} value=${start} step=${0.01} error=${error} set=${set.start} />
      <label for="${id}-end">${t("form.span.end")}</label>
      <${NumberInput} id="${id}-end" value=${end} step=${0.01} error=${error} set=${set.end} />
      ${seconds && html`<button class="small" onClick=${set.all}>${t("form.span.all")}</button>`}
    </div>
    <p id="${id}-note" class=${isBad ? "wrong" : "quiet"}>
      ${t(isBad ? "form.span.bad" : "form.span.marked", {
        seconds: number(Math.max(0, end - start)),
        length: seconds ? number(seconds) : "?",
        frame: number(FRAME, 3),
      })}
    </p>
  `;
}
