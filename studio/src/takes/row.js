/** One take in the tree. The chosen one opens: title, note, and what can be done with it. */
import { Component } from "preact";
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { go } from "../address.js";
import { moment, number, t } from "../words.js";
import { notice } from "../window/notice.js";
import { changesOf, clock, secondsOf, titleOf } from "./facts.js";
import { forget, inHand, parentOf, relabel } from "./store.js";

/** @typedef {import("../types.js").Run} Run */
/** @typedef {{run: Run, parent: Run | null, level: number, isChosen: boolean, language: string}} Props */

/** @param {Promise<unknown>} work */
const told = (work) => work.catch((error) => notice(error.message, { kind: "error" }));

/** Rows that show the same are not made again: there may be a thousand. @extends {Component<Props>} */
class Row extends Component {
  /** @param {Props} next */
  shouldComponentUpdate(next) {
    const now = /** @type {Props} */ (this.props);
    return Object.keys(next).some((name) => now[/** @type {keyof Props} */ (name)] !== next[/** @type {keyof Props} */ (name)]);
  }

  /** @param {Props} props */
  render({ run, level, isChosen }) {
    const star = Boolean(run.labels.star);
    const title = titleOf(run);
    const seconds = secondsOf(run);
    const time = moment(run.created_at, { hour: "2-digit", minute: "2-digit" });
    const done = run.state === "running" ? ` ${number(Math.floor(run.progress * 100), 0)} %` : "";
    const state = run.state === "succeeded" ? "" : `${t(`take.state.${run.state}`)}${done}`;
    return html`
      <li class="branch ${run.state} ${isChosen ? "open" : ""}" aria-level=${level} style=${{ "--level": Math.min(level, 8) - 1 }}>
        <div class="line">
          <button class="pick" aria-current=${isChosen ? "true" : null} onClick=${() => go({ take: run.id })}>
            <span class="title">${title}</span>
            <span class="about quiet">${[run.graph, ...changesOf(run)].join(" · ")}</span>
          </button>
          <span class="side quiet">${clock(seconds) || time}${state && html`<span class="state">${state}</span>`}</span>
          <button
            class="star plain"
            aria-pressed=${star}
            aria-label=${t("take.star", { title })}
            onClick=${() => told(relabel(run.id, { star: star ? null : "1" }))}
          >${star ? "★" : "☆"}</button>
        </div>
        ${run.state === "running" && html`<progress max="1" value=${run.progress} aria-label=${t("take.progress")}></progress>`}
        ${isChosen ? html`<${Details} run=${run} />` : run.labels.note && html`<p class="note quiet">${run.labels.note}</p>`}
      </li>
    `;
  }
}

/** @param {{run: Run}} props */
function Details({ run }) {
  const hidden = Boolean(run.labels.hidden);
  return html`
    <div class="details">
      <${Text} run=${run} name="title" placeholder=${titleOf(run)} />
      <${Text} run=${run} name="note" />
      <div class="acts">
        <button onClick=${() => told(relabel(run.id, { hidden: hidden ? null : "1" }))}>${t(hidden ? "take.show" : "take.hide")}</button>
        ${!inHand(run) && html`<button class="danger" onClick=${() => remove(run)}>${t("take.delete")}</button>`}
      </div>
    </div>
  `;
}

/** A label that one writes. What is typed stays until it is stored, whatever is heard of the run meanwhile.
 * @param {{run: Run, name: string, placeholder?: string}} props */
function Text({ run, name, placeholder }) {
  const stored = run.labels[name] ?? "";
  const [draft, setDraft] = useState(/** @type {string | null} */ (null));
  const save = () => {
    const text = (draft ?? stored).trim();
    const done = () => setDraft(null);
    if (text === stored) done();
    else told(relabel(run.id, { [name]: text || null })).then(done);
  };
  const on = {
    value: draft ?? stored,
    maxlength: 500,
    placeholder,
    onInput: (/** @type {{target: HTMLInputElement}} */ event) => setDraft(event.target.value),
    onChange: save,
  };
  return html`<label>${t(`take.${name}`)}${name === "note" ? html`<textarea rows="2" ...${on}></textarea>` : html`<input ...${on} />`}</label>`;
}

/** Ask, then delete. @param {Run} run */
function remove(run) {
  const label = t("take.delete");
  notice(t("take.delete.sure", { title: titleOf(run) }), { kind: "warning", action: { label, run: () => told(away(run)) } });
}

/** @param {Run} run */
async function away(run) {
  await forget(run.id);
  go({ take: parentOf(run)?.id ?? null });
}

export { Row };
