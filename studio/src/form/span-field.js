/** The span in two numbers. The waveform shows and drags the same one. */
import { html } from "../html.js";
import { FRAME, span } from "../span.js";
import { number, t } from "../words.js";
import { NumberInput } from "./number.js";
import { secondsOf } from "./origin.js";

/** @param {import("./fields.js").Props & {id: string}} props */
export function SpanField({ view, id, error }) {
  const [start, end] = span.value;
  const seconds = view.origin && secondsOf(view.origin);
  const isBad = end - start < FRAME || (seconds && end > seconds + FRAME);
  return html`
    <div class="line span" role="group" aria-labelledby="${id}-label">
      <label for=${id}>${t("form.span.start")}</label>
      <${NumberInput} id=${id} value=${start} step=${0.01} error=${error} set=${(/** @type {any} */ value) => (span.value = [value ?? 0, end])} />
      <label for="${id}-end">${t("form.span.end")}</label>
      <${NumberInput} id="${id}-end" value=${end} step=${0.01} error=${error} set=${(/** @type {any} */ value) => (span.value = [start, value ?? seconds ?? 30])} />
      ${seconds && html`<button class="small" onClick=${() => (span.value = [0, seconds])}>${t("form.span.all")}</button>`}
    </div>
    <p class=${isBad ? "wrong" : "quiet"}>
      ${t(isBad ? "form.span.bad" : "form.span.marked", {
        seconds: number(Math.max(0, end - start)),
        length: seconds ? number(seconds) : "?",
        frame: number(FRAME, 3),
      })}
    </p>
  `;
}
