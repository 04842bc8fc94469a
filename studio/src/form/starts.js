/** Where a song can begin: an example, or settings that were used before. */
import { FileButton, html } from "../html.js";
import { catalog } from "../model.js";
import { take as chosenTake } from "../takes/store.js";
import { notice } from "../window/notice.js";
import { t } from "../words.js";
import { loadFile, loadSettings } from "./load.js";

let last = -1;

/** Another example than the last one; with an adapter chosen, one that is for it if there is one.
 * @param {string | null} adapter */
async function loadExample(adapter) {
  const { examples } = catalog.value;
  const marked = examples.filter(({ inputs }) => adapter && inputs.adapter === adapter);
  const all = marked.length ? marked : examples;
  if (!all.length) return;
  last = (last + 1 + Math.floor(Math.random() * Math.max(1, all.length - 1))) % all.length;
  const { graph, inputs, name } = all[last];
  await loadSettings(graph, adapter ? { adapter, ...inputs } : inputs);
  notice(t("form.example.loaded", { name }));
}

/** Settings of the chosen take. @param {Run} run */
async function loadTake(run) {
  await loadSettings(run.graph, run.inputs ?? {}, { source: run.id });
  notice(t("form.loaded", { name: run.labels.title ?? run.graph }));
}

/** @param {{view: View}} props */
export function Starts({ view }) {
  const adapter = view.field("adapter");
  const run = chosenTake.value;
  const example = () => loadExample(adapter && (view.value(adapter) ?? null));
  return html`
    <div class="line starts">
      ${!view.origin && html`<button class="small" onClick=${example}>${t("form.example")}</button>`}
      <button class="small" disabled=${!run?.inputs} onClick=${() => run && loadTake(run)}>
        ${t("form.load.take")}
      </button>
      <${FileButton} label=${t("form.load")} accept=".json,audio/*,.flac,.ogg" take=${loadFile} />
    </div>
  `;
}
