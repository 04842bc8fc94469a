/** One take in the tree. The chosen one opens: title, note, and what can be done with it. */
import { Component } from "preact";
import { useState } from "preact/hooks";
import { html, typed } from "../html.js";
import { go } from "../address.js";
import { clock, moment, number, t } from "../words.js";
import { failed, notice } from "../window/notice.js";
import { changesOf, secondsOf, titleOf } from "./facts.js";
import { forget, inHand, parentOf, relabel } from "./store.js";

/**
 * @typedef {{run: Run, parent: Run | null, level: number, isChosen: boolean, at: number, count: number,
 *   language: string}} Props
 */

/** Rows that show the same are not made again. @extends {Component<Props>} */
export class Row extends Component {
  /** @param {Props} next */
  shouldComponentUpdate(next) {
    const names = /** @type {(keyof Props)[]} */ (Object.keys(next));
    return names.some((name) => this.props[name] !== next[name]);
  }

  /** @param {Props} props */
  render({ run, level, isChosen, at, count }) {
    const star = Boolean(run.labels.star);
    const title = titleOf(run);
    const seconds = secondsOf(run);
    const time = moment(run.created_at, { hour: "2-digit", minute: "2-digit" });
    const done = run.state === "running" ? ` ${number(Math.floor(run.progress * 100), 0)} %` : "";
    const state = run.state === "succeeded" ? "" : `${t(`take.state.${run.state}`)}${done}`;
    const style = { "--level": Math.min(level, 8) - 1 };
    const place = { "aria-level": level, "aria-setsize": count, "aria-posinset": at };
    return html`
      <li class="branch ${run.state} ${isChosen ? "open" : ""}" style=${style} ...${place}>
        <div class="line">
          <button class="pick" aria-current=${isChosen ? "true" : null} onClick=${() => go({ take: run.id })}>
            <span class="title">${title}</span>
            <span class="about quiet">${[run.graph, ...changesOf(run)].join(" · ")}</span>
          </button>
          <span class="side quiet">
            ${seconds === null ? time : clock(Math.round(seconds))}
            ${state && html`<span class="state">${state}</span>`}
          </span>
          <button
            class="star plain" aria-pressed=${star} aria-label=${t("take.star", { title })}
            onClick=${() => relabel(run.id, { star: star ? null : "1" }).catch(failed)}
          >${star ? "★" : "☆"}</button>
        </div>
        ${run.state === "running" &&
        html`<progress max="1" value=${run.progress} aria-label=${t("take.progress")}></progress>`}
        ${isChosen
          ? html`<${Details} run=${run} />`
          : run.labels.note && html`<p class="note quiet">${run.labels.note}</p>`}
      </li>
    `;
  }
}

/** @param {{run: Run}} props */
function Details({ run }) {
  const hidden = Boolean(run.labels.hidden);
  const hide = () => relabel(run.id, { hidden: hidden ? null : "1" }).catch(failed);
  return html`
    <div class="details">
      <${Text} run=${run} name="title" placeholder=${titleOf(run)} />
      <${Text} run=${run} name="note" />
      <div class="acts">
        <button onClick=${hide}>${t(hidden ? "take.show" : "take.hide")}</button>
        ${!inHand(run) && html`
          <button class="danger" onClick=${() => remove(run)}>${t("take.delete")}</button>`}
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
    else relabel(run.id, { [name]: text || null }).then(done, failed);
  };
  const on = {
    value: draft ?? stored,
    maxlength: 500,
    placeholder,
    onInput: typed(setDraft),
    onChange: save,
  };
  return html`
    <label>${t(`take.${name}`)}
      ${name === "note" ? html`<textarea rows="2" ...${on}></textarea>` : html`<input ...${on} />`}
    </label>
  `;
}

/** Ask, then delete. @param {Run} run */
function remove(run) {
  const away = () => forget(run.id).then(() => go({ take: parentOf(run)?.id ?? null }), failed);
  const actions = [{ label: t("take.delete"), run: away }];
  notice(t("take.delete.sure", { title: titleOf(run) }), { kind: "warning", actions });
}
