/** Notices: what happened, in words, until one closes it. No notice goes by itself. */
import { signal } from "@preact/signals";
import { html } from "../html.js";
import { t } from "../words.js";

/**
 * @typedef {{label: string, run: () => any}} Action
 * @typedef {{text: string, kind: "info" | "warning" | "error", items: string[], actions: Action[]}} Notice
 */

/** @type {Signal<Notice[]>} */
const notices = signal([]);

/**
 * Show a text until it is closed. The same text is shown once, and a plain one takes the place of the one
 * before.
 *
 * @param {string} text
 * @param {Partial<Notice>} [more]  kind, a list under the text, and what one can do
 */
export function notice(text, more = {}) {
  const added = { text, kind: /** @type {const} */ ("info"), items: [], actions: [], ...more };
  const isReplaced = (/** @type {Notice} */ each) =>
    each.text === text || (each.kind === "info" && added.kind === "info");
  notices.value = [...notices.value.filter((each) => !isReplaced(each)), added];
}

/** Say that something failed. @param {{message: string}} error */
export const failed = ({ message }) => notice(message, { kind: "error" });

/** @param {Notice} closed */
function close(closed) {
  notices.value = notices.value.filter((each) => each !== closed);
}

export function Notices() {
  return html`
    <div class="notices" role="log" aria-label=${t("window.notices")} aria-live="polite">
      ${notices.value.map((each) => html`<${Item} key=${each.text} each=${each} />`)}
    </div>
  `;
}

/** @param {{each: Notice}} props */
function Item({ each }) {
  const { text, kind, items, actions } = each;
  const buttons = actions.map(
    ({ label, run }) => html`<button class="small" onClick=${() => (close(each), run())}>${label}</button>`,
  );
  return html`
    <div class="notice ${kind}" role=${kind === "error" ? "alert" : "status"}>
      <div class="grow">
        ${kind === "info" ? "" : html`<b>${t(`window.${kind}`)} </b>`}${text}
        ${items.length > 0 && html`<ul>${items.map((item) => html`<li>${item}</li>`)}</ul>`}
      </div>
      ${buttons}
      <button class="plain" aria-label=${t("window.close")} onClick=${() => close(each)}>✕</button>
    </div>
  `;
}
