/** Seeds: drawn here for each run, shown afterwards, and kept once they are locked. */
import { html } from "../html.js";
import { t } from "../words.js";
import { change, draftOf } from "./drafts.js";
import { asList } from "./schema.js";

/** @param {number} count */
const draw = (count) => [...crypto.getRandomValues(new Uint32Array(count))];

/** How many seeds a draft asks for. @param {import("./drafts.js").Draft} draft */
export const seedCount = (draft) => (draft.locked ? Math.max(1, asList(draft.seeds).length) : draft.on.best && draft.count === 1 ? 4 : draft.count);

/** The seeds of the next run. @param {string} tab @param {boolean} isPlan  leave the drawing to the run */
export function seedsOf(tab, isPlan) {
  const draft = draftOf(tab).peek();
  const locked = draft.locked ? asList(draft.seeds) : [];
  if (locked.length) return locked;
  if (isPlan) return Array(seedCount(draft)).fill("random");
  const drawn = draw(seedCount(draft));
  change(tab, { seeds: drawn.join(", ") });
  return drawn;
}

/** Keep a seed for the next runs of a tab. @param {string} tab @param {number | number[]} seed */
export const lock = (tab, seed) => change(tab, { seeds: [seed].flat().join(", "), locked: true });

/** @param {{view: import("./view.js").View, error?: string}} props */
export function Seeds({ view, error }) {
  const { tab, draft } = view;
  const label = t(view.seeds?.name === "retake_seed" ? "form.seeds.retake" : "form.seeds");
  const count = seedCount(draft);
  return html`
    <div class="field seeds">
      <label for="seeds">${label}</label>
      <div class="line">
        <input
          id="seeds"
          inputmode="numeric"
          class=${draft.locked ? "" : "used"}
          placeholder=${t("form.seeds.drawn")}
          value=${draft.seeds}
          aria-invalid=${!!error}
          aria-describedby="seeds-note"
          onInput=${(/** @type {any} */ event) => change(tab, { seeds: event.target.value, locked: event.target.value.trim() !== "" })}
        />
        <button class="icon" title=${t("form.seeds.die")} aria-label=${t("form.seeds.die")} onClick=${() => lock(tab, draw(count))}>⚄</button>
        <button
          class="icon"
          title=${t("form.seeds.lock")}
          aria-label=${t("form.seeds.lock")}
          aria-pressed=${draft.locked}
          onClick=${() => change(tab, { locked: !draft.locked })}
        >
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path fill="none" stroke="currentColor" stroke-width="1.5" d=${`M3 7.5h10v6H3z${draft.locked ? "M5 7.5v-2a3 3 0 0 1 6 0v2" : "M5 7.5v-3a3 3 0 0 1 5.6-1.5"}`} />
          </svg>
        </button>
        <span class="count">
          <label for="count">${t("form.seeds.count")}</label>
          <select
            id="count"
            value=${String(count)}
            disabled=${draft.locked}
            onChange=${(/** @type {any} */ event) => change(tab, { count: Number(event.target.value) })}
          >
            ${[...new Set([1, 2, 3, 4, 5, 6, 7, 8, count])].map((each) => html`<option value=${each}>${each}</option>`)}
          </select>
        </span>
      </div>
      <p id="seeds-note" class=${error ? "wrong" : "quiet"}>${error ?? t(draft.locked ? "form.seeds.kept" : "form.seeds.anew")}</p>
    </div>
  `;
}
