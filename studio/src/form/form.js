/** The form: one tab for each way to make or change a song. */
import { go, tab as openTab } from "../address.js";
import { html, Select } from "../html.js";
import { catalog } from "../model.js";
import { t } from "../words.js";
import { Drop } from "./drop.js";
import { known } from "./labels.js";
import { Panel } from "./panel.js";
import { TABS } from "./tabs.js";

const NAMES = [...Object.keys(TABS), "more"];

function Tabs() {
  const open = openTab.value in TABS ? openTab.value : "more";
  const move = (/** @type {KeyboardEvent} */ event) => {
    const at = NAMES.indexOf(open);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: NAMES.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const name = NAMES[(to + NAMES.length) % NAMES.length];
    go({ tab: name });
    document.getElementById(`tab-${name}`)?.focus();
  };
  return html`
    <div class="tabs" role="tablist" aria-label=${t("form.tabs")} onKeyDown=${move}>
      ${NAMES.map(
        (name) => html`<button
          key=${name} id=${`tab-${name}`} role="tab" aria-selected=${name === open} aria-controls="tab-panel"
          tabindex=${name === open ? 0 : -1} onClick=${() => go({ tab: name })}
        >
          ${t(`form.tab.${name}`)}
        </button>`,
      )}
    </div>
  `;
}

/** Whether a graph is there for others; such stand last. @param {{summary: string}} graph */
const isBlock = ({ summary }) => summary.includes("A building block");

/** Graphs of the server that have no tab of their own. */
function Graphs() {
  const taken = Object.values(TABS).flatMap((tab) => tab.graphs);
  const free = catalog.value.graphs.filter(({ name }) => !taken.includes(name));
  const rest = free.sort((a, b) => Number(isBlock(a)) - Number(isBlock(b)));
  const isOpen = rest.some(({ name }) => name === openTab.value);
  const options = [
    ["", t("form.graph.choose")],
    ...rest.map(({ name, ok }) => [name, `${name}${ok ? "" : " ⚠"}`]),
  ];
  const open = (/** @type {string} */ name) => go({ tab: name || "more" });
  return html`
    <div class="field">
      <label for="graph">${t("form.graph")}</label>
      <${Select} id="graph" value=${isOpen ? openTab.value : ""} options=${options} set=${open} />
    </div>
    ${!isOpen &&
    html`<ul class="graphs">
      ${rest.map(
        ({ name, summary, ok }) => html`<li>
          <button onClick=${() => go({ tab: name })}>
            <b>${name}${ok ? "" : " ⚠"}</b><span class="quiet">${known(`form.graph.${name}`, summary)}</span>
          </button>
        </li>`,
      )}
    </ul>`}
  `;
}

export function Form() {
  const tab = openTab.value;
  const isMore = !(tab in TABS);
  const isKnown = !isMore || catalog.value.graphs.some(({ name }) => name === tab);
  return html`
    <${Tabs} />
    <${Drop} />
    <div class="panel" id="tab-panel" role="tabpanel" aria-labelledby=${`tab-${isMore ? "more" : tab}`}>
      ${isMore && html`<${Graphs} />`}
      ${isKnown && html`<${Panel} key=${tab} tab=${tab} />`}
    </div>
  `;
}
