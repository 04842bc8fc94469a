/**
 * The model with its notes, the queue, and what belongs to the whole window: language, colours, keys, the
 * caller.
 */
import { html, named, Select } from "../html.js";
import { go, prefer, theme } from "../address.js";
import { catalog } from "../model.js";
import { working } from "../takes/store.js";
import { language, LANGUAGES, t } from "../words.js";
import { listOpen } from "./keys.js";
import { failed } from "./notice.js";
import { signOut } from "./sign-in.js";

/** What people should know of the model: the first note always, the others on request.
 * @param {{notes: string[]}} props */
function Notes({ notes: [first, ...others] }) {
  if (!others.length) return html`<p class="notes quiet">${first}</p>`;
  return html`
    <details class="notes quiet">
      <summary>${first}</summary>
      <ul>${others.map((note) => html`<li>${note}</li>`)}</ul>
    </details>
  `;
}

/** @returns {[string, string][]} */
const themes = () => ["", "light", "dark"].map((each) => [each, t(`window.theme.${each || "auto"}`)]);

export function TopBar() {
  const { model, caller } = catalog.value;
  const busy = working.value;
  return html`
    <header class="top">
      <h1>${model.name || t("window.name")}</h1>
      <${Notes} notes=${model.notes} />
      <div class="tools">
        <button class="plain queue" disabled=${!busy.length} onClick=${() => go({ take: busy.at(-1)?.id })}>
          ${t(busy.length ? "window.busy" : "window.idle", { count: busy.length })}
        </button>
        <${Select}
          aria-label=${t("window.language")} value=${language.value} options=${Object.entries(LANGUAGES)}
          set=${(/** @type {string} */ chosen) => prefer({ language: chosen })}
        />
        <${Select}
          aria-label=${t("window.theme")} value=${theme.value} options=${themes()}
          set=${(/** @type {string} */ chosen) => prefer({ theme: chosen })}
        />
        <button class="plain" ...${named("window.keys")} onClick=${() => (listOpen.value = true)}>?</button>
        ${caller && html`
          <span class="caller">${caller}</span>
          <button onClick=${() => signOut().catch(failed)}>${t("window.sign-out")}</button>
        `}
      </div>
    </header>
  `;
}
