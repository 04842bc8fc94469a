/** The seeds of a take: always there, copied by a click, locked into the form. */
import { html } from "../html.js";
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

/** @param {{run: import("../types.js").Run}} props */
export function Seeds({ run }) {
  const seeds = Object.entries(run.inputs ?? {}).flatMap(([name, value]) => {
    if (!/seeds?$/.test(name)) return [];
    return [value].flat().filter(Number.isInteger).map((seed) => ({ name: name.replace(/s$/, ""), seed: /** @type {number} */ (seed) }));
  });
  if (!seeds.length) return null;
  return html`
    <ul class="seeds" aria-label=${t("listen.seeds")}>
      ${seeds.map(({ name, seed }) => html`
        <li>
          <button class="seed" title=${t("listen.seed-hint")} onClick=${(/** @type {MouseEvent} */ event) => (event.shiftKey ? lockSeed(seed) : copy(seed))}>
            ${name} <b>${seed}</b></button>
          <button aria-label=${t("listen.lock-seed", { name, seed })} title=${t("listen.lock")} onClick=${() => lockSeed(seed)}>
            <svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true">
              <path fill="currentColor" d="M6 10V8a6 6 0 0112 0v2h1v12H5V10zm3 0h6V8a3 3 0 00-6 0z" /></svg></button>
        </li>`)}
    </ul>
  `;
}
