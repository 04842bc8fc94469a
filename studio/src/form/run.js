/** Plan and Generate: what a run would do, and the run. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { html, Select } from "../html.js";
import { post } from "../http.js";
import { submit } from "../takes/store.js";
import { number, t } from "../words.js";
import { draftOf, OPTIONS, put } from "./drafts.js";
import { blame, faults, requestOf } from "./view.js";

/** @typedef {{id: string, stage: string, fate: string | null, seconds: number | null,
 *   problem: string | null}} Planned */
/** @typedef {{runs: number, seconds: number | null, warnings: string[], nodes: Planned[]}} Plan */

/** What the last plan said. @type {Signal<Plan | null>} */
const plan = signal(null);
/** Whether a request is on its way. Other runs do not stand in the way of one more. */
const isBusy = signal(false);

/**
 * Do one request at a time, and put what the server refuses at its fields.
 *
 * @param {View} view
 * @param {() => Promise<any>} work
 */
async function attempt(view, work) {
  if (isBusy.peek() || view.isNoSong) return;
  isBusy.value = true;
  faults.value = { fields: {}, rest: [] };
  try {
    await work();
  } catch (error) {
    blame(/** @type {any} */ (error), view);
    requestAnimationFrame(() => {
      const { fields, rest } = faults.peek();
      const unseen = Object.keys(fields).filter((name) => {
        return !document.querySelector(`#field-${name}-error, #seeds-note.wrong`);
      });
      if (unseen.length) faults.value = { fields, rest: [...rest, ...unseen.map((name) => fields[name])] };
      const field = /** @type {HTMLElement | null} */ (document.querySelector(".form [aria-invalid=true]"));
      field?.scrollIntoView({ block: "center" }); // the foot lies over the lower end
      field?.focus({ preventScroll: true });
    });
  } finally {
    isBusy.value = false;
  }
}

/** @param {View} view */
export const generate = (view) =>
  attempt(view, async () => {
    const { graph, inputs, labels } = await requestOf(view.tab, false);
    const { format = "flac", preview = 10 } = draftOf(OPTIONS).peek().values;
    plan.value = null;
    for (const each of inputs) await submit(graph, each, { format, preview_every: preview || null, labels });
  });

/** @param {View} view */
const forecast = (view) =>
  attempt(view, async () => {
    plan.value = null;
    const { graph, inputs } = await requestOf(view.tab, true);
    const answer = await post(`v1/graphs/${encodeURIComponent(graph)}/plan`, { inputs: inputs[0] });
    plan.value = { ...answer, runs: inputs.length };
  });

/** @type {Record<string, string>} */
const FATES = { cached: "✓", computed: "•", skipped: "–", refused: "✕" };

/** What will happen to a node, or how long it takes. @param {Planned} node */
function fateOf({ fate, seconds }) {
  if (fate !== "computed") return fate && t(`form.plan.${fate}`);
  return seconds === null ? "?" : `${number(seconds, 1)} s`;
}

function Forecast() {
  const said = plan.value;
  if (!said) return null;
  const { nodes, runs, seconds } = said;
  const cached = nodes.filter((node) => node.fate === "cached").length;
  const total = number((seconds ?? 0) * runs, 1);
  const price = t(seconds === null ? "form.plan.unknown" : "form.plan.seconds", { seconds: total });
  const counts = [t("form.plan.nodes", { count: nodes.length, cached })];
  if (runs > 1) counts.push(t("form.plan.runs", { count: runs }));
  return html`
    <section class="plan" aria-label=${t("form.plan.title")}>
      <p>
        <b>${price}</b>${" · "}${counts.join(" · ")}
        <button class="icon" aria-label=${t("window.close")} onClick=${() => (plan.value = null)}>✕</button>
      </p>
      <ul>
        ${nodes.map((node) => html`
          <li class=${node.fate === "refused" ? "wrong" : ""}>
            <span aria-hidden="true">${FATES[node.fate ?? ""] ?? ""}</span>
            ${" "}${node.id} <span class="quiet">${node.stage}</span>
            <span class="quiet end">${fateOf(node)}</span>
            ${node.problem && html`<br />${node.problem}`}
          </li>`)}
      </ul>
      ${said.warnings.map((warning) => html`<p class="warn">${warning}</p>`)}
    </section>
  `;
}

const FORMATS = ["flac", "wav", "mp3", "ogg"];
const PREVIEWS = [0, 5, 10, 20];

/** The foot of a form. @param {{view: View}} props */
export function Foot({ view }) {
  const { format = "flac", preview = 10 } = draftOf(OPTIONS).value.values;
  useEffect(() => {
    const press = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      generate(view);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });
  useEffect(() => () => void (plan.value = null), [view.tab]);
  const isOff = isBusy.value || view.isNoSong;
  const formats = FORMATS.map((each) => [each, each]);
  const previews = PREVIEWS.map((steps) => [steps, t(steps ? "form.preview.steps" : "form.off", { steps })]);
  const set = {
    format: (/** @type {string} */ chosen) => put(OPTIONS, { format: chosen }),
    preview: (/** @type {string} */ chosen) => put(OPTIONS, { preview: Number(chosen) }),
  };
  return html`
    <footer class="foot">
      <div role="alert">${faults.value.rest.map((text) => html`<p class="wrong">${text}</p>`)}</div>
      <${Forecast} />
      <div class="line">
        <span class="count">
          <label for="format">${t("form.format")}</label>
          <${Select} id="format" value=${format} options=${formats} set=${set.format} />
        </span>
        <span class="count">
          <label for="preview">${t("form.preview")}</label>
          <${Select} id="preview" value=${preview} options=${previews} set=${set.preview} />
        </span>
        <button disabled=${isOff} onClick=${() => forecast(view)}>${t("form.plan")}</button>
        <button class="main" disabled=${isOff} title="Ctrl+Enter" onClick=${() => generate(view)}>
          ${t("form.generate")}
        </button>
      </div>
    </footer>
  `;
}
