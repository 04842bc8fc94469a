/** Tags with a count, and lyrics with coloured structure tags. */
import { useRef } from "preact/hooks";
import { html, Switch, typed } from "../html.js";
import { t } from "../words.js";
import { turn } from "./drafts.js";
import { tied } from "./labels.js";

/** About how many tokens a text takes: a word is one or two, a Chinese character one. @param {string} text */
const tokens = (text) =>
  (text.match(/[\u3040-\u9fff\uac00-\ud7af]|[^\s\u3040-\u9fff\uac00-\ud7af]{1,5}/g) ?? []).length;

/** @param {FieldProps} props */
export function TagsField({ view, field, id, error }) {
  const text = view.value(field) ?? "";
  const set = (/** @type {string} */ now) => view.set(field, now);
  const [count, most] = [tokens(text), 256];
  return html`
    <textarea id=${id} rows="2" value=${text} onInput=${typed(set)} ...${tied(id, error)} />
    <small class=${count > most ? "wrong" : "quiet"}>${t("form.tokens", { count, most })}</small>
  `;
}

/** Letters that the model takes. */
const LONGEST = 100_000;
const TAGS = ["[verse]", "[chorus]", "[bridge]", "[inst]"];

/**
 * A text with its structure tags coloured: the same text lies below the field, which shows only its caret.
 *
 * @param {{id: string, text: string, set: (text: string) => void, rows?: number, label?: string,
 *   error?: string, disabled?: boolean}} props
 */
export function Lyrics({ id, text, set, rows = 9, label, error, disabled = false }) {
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const below = useRef(/** @type {HTMLElement | null} */ (null));
  const insert = (/** @type {string} */ tag) => {
    const field = area.current;
    if (!field) return;
    const before = field.value.slice(0, field.selectionStart);
    const gap = before === "" || before.endsWith("\n\n") ? "" : before.endsWith("\n") ? "\n" : "\n\n";
    field.focus();
    field.setRangeText(`${gap}${tag}\n`, field.selectionStart, field.selectionEnd, "end");
    set(field.value);
  };
  const parts = text.split(/(\[[^\[\]\n]*\])/).map((part, at) => (at % 2 ? html`<b>${part}</b>` : part));
  const button = (/** @type {string} */ tag) =>
    html`<button class="small" disabled=${disabled} onClick=${() => insert(tag)}>${tag}</button>`;
  return html`
    <div class="lyrics">
      <div class="marked" aria-hidden="true" ref=${below}>${parts}${"\n"}</div>
      <textarea
        id=${id} ref=${area} rows=${rows} maxlength=${LONGEST} spellcheck=${false} aria-label=${label}
        value=${text} disabled=${disabled} ...${tied(id, error)} onInput=${typed(set)}
        onScroll=${() => below.current && area.current && (below.current.scrollTop = area.current.scrollTop)}
      />
    </div>
    <div class="line tags" role="group" aria-label=${t("form.structure")}>${TAGS.map(button)}</div>
  `;
}

/** @param {FieldProps} props */
export function LyricsField({ view, field, id, error }) {
  const isSong = field.name === "lyrics" && !view.origin?.run;
  const isInstrumental = isSong && !!view.draft.on.instrumental;
  const rows = field.name === "opening" ? 2 : 9;
  return html`
    <${Lyrics}
      id=${id} rows=${rows} error=${error} disabled=${isInstrumental} text=${view.value(field) ?? ""}
      set=${(/** @type {string} */ text) => view.set(field, text)}
    />
    ${isSong &&
    html`<${Switch}
      label=${t("form.instrumental")} isOn=${isInstrumental}
      set=${(/** @type {boolean} */ isOn) => turn(view.tab, "instrumental", isOn)}
    />`}
  `;
}
