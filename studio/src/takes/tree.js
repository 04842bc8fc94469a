/** The tree of takes: looking for some, and a row for each. Older ones come in pages. */
import { useEffect, useRef } from "preact/hooks";
import { html, typed } from "../html.js";
import { chosen, go, pane } from "../address.js";
import { language, number, t } from "../words.js";
import { rows, searching, wanted } from "./branches.js";
import { Row } from "./row.js";
import { Windowed } from "./windowed.js";
import { onKey } from "../window/keys.js";
import { failed } from "../window/notice.js";
import { loadPage, older, parentOf, relabel, take, takes } from "./store.js";

/** @typedef {import("./branches.js").Item} Item */

export function Tree() {
  const found = rows.value;
  const isSearching = searching.value;
  const after = older.value;
  // What one looks for may be in an older page.
  useEffect(() => {
    if (isSearching && after) loadPage(after).catch(() => null);
  }, [isSearching, after]);
  return html`
    <div class="tree-head">
      <h2>${t("pane.tree")}</h2>
      <${Filter} count=${found.filter(({ run }) => run).length} />
    </div>
    ${!found.length && after !== undefined &&
    html`<p class="quiet">${t(takes.value.size ? "take.none" : "take.empty")}</p>`}
    <${Windowed} class="rows" items=${found} row=${line} shown=${chosen.value} onKeyDown=${move} />
    ${after && html`<${Older} after=${after} />`}
  `;
}

/** @param {Item} item @param {{at: number, count: number}} place */
function line({ key, day, run, level }, { at, count }) {
  if (!run)
    return html`<li class="day quiet" key=${key} aria-setsize=${count} aria-posinset=${at}>${day}</li>`;
  const isChosen = run.id === chosen.value;
  const shown = { run, parent: parentOf(run), level, isChosen, at, count, language: language.value };
  return html`<${Row} key=${key} ...${shown} />`;
}

/** @param {{count: number}} props */
function Filter({ count }) {
  const { text, starred, hidden } = wanted.value;
  /** @param {Partial<typeof wanted.value>} change */
  const want = (change) => (wanted.value = { ...wanted.value, ...change });
  return html`
    <div class="filter">
      <input
        type="search" aria-label=${t("take.search")} placeholder=${t("take.search")} value=${text}
        onInput=${typed((text) => want({ text }))}
      />
      <button aria-pressed=${starred} onClick=${() => want({ starred: !starred })}>
        ★ ${t("take.starred")}
      </button>
      <button aria-pressed=${hidden} onClick=${() => want({ hidden: !hidden })}>${t("take.hidden")}</button>
      <span class="quiet count" role="status">
        ${searching.value ? t("take.found", { count: number(count, 0) }) : ""}
      </span>
    </div>
  `;
}

/** Loads the next page when it comes into view, or by its button. @param {{after: string}} props */
function Older({ after }) {
  const button = useRef(/** @type {HTMLElement | null} */ (null));
  const load = () => loadPage(after).catch(() => null);
  useEffect(() => {
    if (!button.current) return undefined;
    const watch = new IntersectionObserver(([entry]) => entry.isIntersecting && load(), {
      rootMargin: "200px",
    });
    watch.observe(button.current);
    return () => watch.disconnect();
  }, [after]);
  return html`<button ref=${button} class="older" onClick=${load}>${t("take.older")}</button>`;
}

/** Choose the take above or below the chosen one. @param {number} step */
function choose(step) {
  const all = rows.value.flatMap(({ run }) => run?.id ?? []);
  const here = all.indexOf(chosen.value ?? "");
  const next = all[here === -1 ? 0 : Math.min(all.length - 1, Math.max(0, here + step))];
  if (next) go({ take: next, pane: pane.value });
}

onKey("/", "window.key.search", () => {
  go({ pane: "tree" });
  /** @type {HTMLElement | null} */ (document.querySelector(".filter input"))?.focus();
});
onKey("n", "window.key.older", () => choose(1));
onKey("p", "window.key.newer", () => choose(-1));
onKey("s", "window.key.star", () => {
  const run = take.value;
  if (run) relabel(run.id, { star: run.labels.star ? null : "1" }).catch(failed);
});

/** Arrows go from take to take. @param {KeyboardEvent} event */
function move(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const here = /** @type {Element} */ (event.target);
  if (!step || !here.matches(".pick")) return;
  const all = /** @type {HTMLElement[]} */ ([...(here.closest(".rows")?.querySelectorAll(".pick") ?? [])]);
  all[all.indexOf(/** @type {HTMLElement} */ (here)) + step]?.focus();
  event.preventDefault();
}
