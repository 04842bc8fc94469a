/** What happened, above the form, until one closes it. */
import { signal } from "@preact/signals";
import { html } from "../html.js";
import { t } from "../words.js";

/** @typedef {{label: string, run: () => any}} Action */
/** @typedef {{text: string, kind: "quiet" | "warn" | "wrong", items: string[], actions: Action[]}} Message */

/** @type {import("@preact/signals").Signal<Message | null>} */
export const message = signal(null);

/** @param {string} text @param {Partial<Message>} [more] */
export function say(text, more = {}) {
  message.value = { text, kind: "quiet", items: [], actions: [], ...more };
}

export function Messages() {
  const said = message.value;
  const close = () => (message.value = null);
  return html`<div role="status" class="messages">
    ${said &&
    html`<div class=${`said ${said.kind}`}>
      <p>${said.text}</p>
      ${said.items.length > 0 && html`<ul>${said.items.map((item) => html`<li>${item}</li>`)}</ul>`}
      <div class="line">
        ${said.actions.map(({ label, run }) => html`<button class="small" onClick=${() => (close(), run())}>${label}</button>`)}
        <button class="small" onClick=${close}>${t("form.close")}</button>
      </div>
    </div>`}
  </div>`;
}
