/** Tags with a count, and lyrics with coloured structure tags. */
import { useRef } from "preact/hooks";
import { html } from "../html.js";
import { t } from "../words.js";
import { turn } from "./drafts.js";
import { tied, typed } from "./labels.js";

const MOST_TOKENS = 256;

/** About how many tokens a text takes: a word is one or two, a Chinese character one. @param {string} text */
const tokens = (text) => (text.match(/[\u3040-\u9fff\uac00-\ud7af]|[^\s\u3040-\u9fff\uac00-\ud7af]{1,5}/g) ?? []).length;

/** @param {import("./fields.js").Props & {id: string}} props */
export function TagsField({ view, field, id, error }) {
  const text = view.value(field) ?? "";
  const count = tokens(text);
  return html`
    <textarea id=${id} rows="2" value=${text} ...${tied(id, error)} onInput=${typed((text) => view.set(field, text))} />
    <small class=${count > MOST_TOKENS ? "wrong" : "quiet"}>${t("form.tokens", { count, most: MOST_TOKENS })}</small>
  `;
}

const TAGS = ["[verse]", "[chorus]", "[bridge]", "[inst]"];

/**
 * A text with its structure tags coloured: the same text lies below the field, which shows its own only as a caret.
 *
 * @param {{id: string, text: string, set: (text: string) => void, rows?: number, label?: string, error?: string, disabled?: boolean}} props
 */
export function Lyrics({ id, text, set, rows = 9, label, error, disabled = false }) {
  /** @type {{current: HTMLTextAreaElement | null}} */
  const area = useRef(null);
  /** @type {{current: HTMLElement | null}} */
  const below = useRef(null);
  const insert = (/** @type {string} */ tag) => {
    const field = area.current;
    if (!field) return;
    const before = field.value.slice(0, field.selectionStart);
    const gap = before === "" || before.endsWith("\n\n") ? "" : before.endsWith("\n") ? "\n" : "\n\n";
    field.focus();
    field.setRangeText(`${gap}${tag}\n`, field.selectionStart, field.selectionEnd, "end");
    set(field.value);
  };
  const parts = text.split(/(\[[^\[\]\n]*\])/);
  return html`
    <div class="lyrics">
      <div class="marked" aria-hidden="true" ref=${below}>${parts.map((part, at) => (at % 2 ? html`<b>${part}</b>` : part))}${"\n"}</div>
      <textarea
        id=${id}
        ref=${area}
        rows=${rows}
        spellcheck=${false}
        aria-label=${label}
        value=${text}
        disabled=${disabled}
        ...${tied(id, error)}
        onInput=${typed((text) => set(text))}
        onScroll=${() => below.current && area.current && (below.current.scrollTop = area.current.scrollTop)}
      />
    </div>
    <div class="line tags" role="group" aria-label=${t("form.structure")}>
      ${TAGS.map((tag) => html`<button class="small" disabled=${disabled} onClick=${() => insert(tag)}>${tag}</button>`)}
    </div>
  `;
}

/** @param {import("./fields.js").Props & {id: string}} props */
export function LyricsField({ view, field, id, error }) {
  const isSong = field.name === "lyrics" && !view.origin?.run;
  const isInstrumental = isSong && !!view.draft.on.instrumental;
  const rows = field.name === "opening" ? 2 : 9;
  return html`
    <${Lyrics}
      id=${id}
      rows=${rows}
      error=${error}
      disabled=${isInstrumental}
      text=${view.value(field) ?? ""}
      set=${(/** @type {string} */ text) => view.set(field, text)}
    />
    ${isSong &&
    html`<${Switch}
      label=${t("form.instrumental")}
      isOn=${isInstrumental}
      set=${(/** @type {boolean} */ isOn) => turn(view.tab, "instrumental", isOn)}
    />`}
  `;
}

/** @param {{label: string, isOn: boolean, set: (isOn: boolean) => void, hint?: string}} props */
export function Switch({ label, isOn, set, hint }) {
  return html`<label class="switch">
    <input type="checkbox" role="switch" checked=${isOn} onChange=${(/** @type {any} */ event) => set(event.target.checked)} />
    <span>${label}${hint && html`<small class="quiet"> ${hint}</small>`}</span>
  </label>`;
}
