/** Notices: what happened, in words, until one closes it. No notice goes by itself. */
import { signal } from "@preact/signals";
import { html } from "../html.js";
import { t } from "../words.js";

/** @typedef {"info" | "warning" | "error"} Kind */
/** @typedef {{id: number, text: string, kind: Kind, action: {label: string, run: () => void} | null}} Notice */

/** @type {import("@preact/signals").Signal<Notice[]>} */
const notices = signal([]);
let count = 0;

/**
 * Show a text until it is closed. The same text is shown once.
 *
 * @param {string} text
 * @param {{kind?: Kind, action?: {label: string, run: () => void} | null}} [options]
 * @returns {() => void} closes it
 */
export function notice(text, { kind = "info", action = null } = {}) {
  const id = ++count;
  notices.value = [...notices.value.filter((each) => each.text !== text), { id, text, kind, action }];
  return () => close(id);
}

/** @param {number} id */
function close(id) {
  notices.value = notices.value.filter((each) => each.id !== id);
}

/** @param {Notice} each */
function act(each) {
  close(each.id);
  each.action?.run();
}

export function Notices() {
  return html`
    <div class="notices" role="log" aria-label=${t("window.notices")} aria-live="polite">
      ${notices.value.map(
        (each) => html`
          <div key=${each.id} class="notice ${each.kind}" role=${each.kind === "error" ? "alert" : "status"}>
            <span>${each.kind === "info" ? "" : html`<b>${t(`window.${each.kind}`)} </b>`}${each.text}</span>
            ${each.action && html`<button onClick=${() => act(each)}>${each.action.label}</button>`}
            <button class="plain" aria-label=${t("window.close")} onClick=${() => close(each.id)}>✕</button>
          </div>
        `,
      )}
    </div>
  `;
}
