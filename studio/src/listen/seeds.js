/** The seeds of a take: always there, copied by a click, locked into the form. */
import { html, Shape } from "../html.js";
import { lockSeed } from "../form/load.js";
import { notice } from "../window/notice.js";
import { t } from "../words.js";

/** @param {number} seed */
async function copy(seed) {
  try {
    await navigator.clipboard.writeText(String(seed));
    notice(t("listen.copied", { seed }));
  } catch {
    notice(t("listen.not-copied", { seed })); // no clipboard without https
  }
}

/** @param {{run: Run}} props */
export function Seeds({ run }) {
  const seeds = Object.entries(run.inputs ?? {}).flatMap(([name, value]) => {
    if (!/seeds?$/.test(name)) return [];
    const seeds = /** @type {number[]} */ ([value].flat().filter(Number.isInteger));
    return seeds.map((seed) => ({ name: name.replace(/s$/, ""), seed }));
  });
  if (!seeds.length) return null;
  return html`
    <ul class="seeds" aria-label=${t("listen.seeds")}>
      ${seeds.map(({ name, seed }) => html`
        <li>
          <button
            class="seed" title=${t("listen.seed-hint")}
            onClick=${(/** @type {MouseEvent} */ event) => (event.shiftKey ? lockSeed(seed) : copy(seed))}
          >${name} <b>${seed}</b></button>
          <button
            aria-label=${t("listen.lock-seed", { name, seed })} title=${t("listen.lock")}
            onClick=${() => lockSeed(seed)}
          >
            <${Shape} name="locked" size=${16} />
          </button>
        </li>`)}
    </ul>
  `;
}
