/** The model with its notes, the queue, and what belongs to the whole window: language, colours, keys, the caller. */
import { html } from "../html.js";
import { go, theme } from "../address.js";
import { caller, model } from "../model.js";
import { working } from "../takes/store.js";
import { language, LANGUAGES, t } from "../words.js";
import { listOpen } from "./keys.js";
import { notice } from "./notice.js";
import { signOut } from "./sign-in.js";

/** @type {Record<string, string>} */
const NAMES = { en: "English", de: "Deutsch", zh: "中文" };

/** @typedef {{target: HTMLSelectElement}} Chosen */

/** What people should know of the model: the first note always, the others on request. @param {{notes: string[]}} props */
function Notes({ notes: [first, ...others] }) {
  if (!others.length) return html`<p class="notes quiet">${first}</p>`;
  return html`
    <details class="notes quiet">
      <summary>${first}</summary>
      <ul>${others.map((note) => html`<li>${note}</li>`)}</ul>
    </details>
  `;
}

export function TopBar() {
  const about = model.value;
  const busy = working.value;
  return html`
    <header class="top">
      <h1>${about?.name || t("window.name")}</h1>
      <${Notes} notes=${about?.notes ?? []} />
      <div class="tools">
        <button class="plain queue" disabled=${!busy.length} onClick=${() => go({ take: busy[busy.length - 1].id })}>
          ${t(busy.length ? "window.busy" : "window.idle", { count: busy.length })}
        </button>
        <select aria-label=${t("window.language")} value=${language.value} onChange=${(/** @type {Chosen} */ event) => go({ language: event.target.value })}>
          ${LANGUAGES.map((each) => html`<option value=${each}>${NAMES[each]}</option>`)}
        </select>
        <select aria-label=${t("window.theme")} value=${theme.value} onChange=${(/** @type {Chosen} */ event) => go({ theme: event.target.value })}>
          ${["", "light", "dark"].map((each) => html`<option value=${each}>${t(`window.theme.${each || "auto"}`)}</option>`)}
        </select>
        <button class="plain" aria-label=${t("window.keys")} onClick=${() => (listOpen.value = true)}>?</button>
        ${caller.value && html`
          <span class="caller">${caller}</span>
          <button onClick=${() => signOut().catch((error) => notice(error.message, { kind: "error" }))}>${t("window.sign-out")}</button>
        `}
      </div>
    </header>
  `;
}

