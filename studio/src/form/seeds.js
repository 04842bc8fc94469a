/** Seeds: drawn here for each run, shown afterwards, and kept once they are locked. */
import { html, named, Select, Shape, typed } from "../html.js";
import { t } from "../words.js";
import { change, draftOf } from "./drafts.js";
import { asList } from "./schema.js";

/** @param {number} count */
const draw = (count) => [...crypto.getRandomValues(new Uint32Array(count))];

/** What the inputs of this control may be called, the foremost first. */
export const SEEDS = ["seeds", "retake_seed", "seed"];

/** How many takes the best is chosen from, where one says nothing. */
const BEST_OF = 4;

/** How many seeds a draft asks for. @param {Draft} draft */
export function seedCount({ locked, seeds, on, count }) {
  if (locked) return Math.max(1, asList(seeds).length);
  return on.best && count === 1 ? BEST_OF : count;
}

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

/** @param {{view: View, error?: string}} props */
export function Seeds({ view, error }) {
  const { tab, draft } = view;
  const label = t(view.seeds?.name === "retake_seed" ? "form.seeds.retake" : "form.seeds");
  const note = t(draft.locked ? "form.seeds.kept" : "form.seeds.anew");
  const count = seedCount(draft);
  return html`
    <div class="field seeds">
      <label for="seeds">${label}</label>
      <div class="line">
        <input
          id="seeds" inputmode="numeric" class=${draft.locked ? "" : "used"}
          placeholder=${t("form.seeds.drawn")} value=${draft.seeds} aria-invalid=${!!error}
          aria-describedby="seeds-note"
          onInput=${typed((seeds) => change(tab, { seeds, locked: seeds.trim() !== "" }))}
        />
        <button class="icon" ...${named("form.seeds.die")} onClick=${() => lock(tab, draw(count))}>⚄</button>
        <button
          class="icon" ...${named("form.seeds.lock")} aria-pressed=${draft.locked}
          onClick=${() => change(tab, { locked: !draft.locked })}
        >
          <${Shape} name=${draft.locked ? "locked" : "open"} size=${16} />
        </button>
        <span class="count">
          <label for="count">${t("form.seeds.count")}</label>
          <${Select}
            id="count" value=${count} disabled=${draft.locked}
            options=${[...new Set([1, 2, 3, 4, 5, 6, 7, 8, count])].map((each) => [each, each])}
            set=${(/** @type {string} */ chosen) => change(tab, { count: Number(chosen) })}
          />
        </span>
      </div>
      <p id="seeds-note" class=${error ? "wrong" : "quiet"}>${error ?? note}</p>
    </div>
  `;
}
