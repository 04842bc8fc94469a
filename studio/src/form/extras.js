/** What some tabs have beside the fields of their graph. */
import { go } from "../address.js";
import { html, Segments, Switch } from "../html.js";
import { ends } from "../span.js";
import { textsOf } from "../takes/facts.js";
import { number, t } from "../words.js";
import { put, turn } from "./drafts.js";
import { changedLines, difference, Difference } from "./difference.js";
import { secondsOf } from "./origin.js";
import { EDITS } from "./tabs.js";

/** @typedef {{view: View}} Props */

const LONGEST = 240;
const MANY_LINES = 3;

/** Switches that lead to other graphs. @type {Record<string, string[]>} */
const SWITCHES = { text2music: ["audio2audio", "best"], repaint: ["gentle"] };

/** @param {Props} props */
export function Switches({ view }) {
  const names = SWITCHES[view.tab] ?? [];
  const set = (/** @type {string} */ name, /** @type {boolean} */ isOn) => {
    for (const other of names) if (other === name || isOn) turn(view.tab, other, other === name && isOn);
  };
  return names.map((name) => html`
    <${Switch}
      key=${name} label=${t(`form.switch.${name}`)} hint=${t(`form.switch.${name}.hint`)}
      isOn=${!!view.draft.on[name]} set=${(/** @type {boolean} */ isOn) => set(name, isOn)}
    />`);
}

/** The kind of an edit sets its two bounds. @param {Props} props */
export function EditKind({ view }) {
  const bounds = ["minimum", "maximum"]
    .map((name) => view.field(name))
    .map((field) => field && view.value(field));
  const kind = Object.keys(EDITS).find((name) => String(EDITS[name]) === String(bounds)) ?? "own";
  const set = (/** @type {string} */ name) => {
    const [minimum, maximum] = EDITS[name] ?? bounds;
    put(view.tab, { minimum, maximum });
  };
  const options = [...Object.keys(EDITS), "own"].map((name) => [name, t(`form.edit.${name}`)]);
  return html`
    <div class="field choice">
      <span class="label" id="edit-kind">${t("form.edit.kind")}</span>
      <${Segments} name="edit-kind" value=${kind} options=${options} set=${set} aria-labelledby="edit-kind" />
    </div>
  `;
}

/**
 * What stands under a field: the sum of an extension; of new lyrics, what changes and whether to do it in
 * small steps.
 *
 * @param {Props & {field: Field}} props
 */
export function After({ view, field }) {
  if (field.name === "right" && view.field("left")) return html`<${ExtendTotal} view=${view} />`;
  if (view.tab !== "edit" || field.name !== "new_lyrics") return null;
  const texts = ["lyrics", "tags", "new_tags"].map((name) => view.field(name));
  const [old, tags, newTags] = texts.map((each) => (each && view.value(each)) ?? "");
  const after = view.value(field) ?? "";
  const lines = changedLines(difference(old, after));
  const isSmall = !!view.draft.on.small;
  return html`
    <${Difference} before=${old} after=${after} />
    ${(isSmall || (lines > MANY_LINES && tags === newTags)) &&
    html`<${Switch}
      label=${t("form.small")} hint=${t("form.small.hint", { lines })} isOn=${isSmall}
      set=${(/** @type {boolean} */ isOn) => turn(view.tab, "small", isOn)}
    />`}
  `;
}

/** How long an extension gets, and the way out where that is too long. @param {Props} props */
function ExtendTotal({ view }) {
  const seconds = view.origin && secondsOf(view.origin);
  if (!seconds) return null;
  const total = seconds + ends.value.left + ends.value.right;
  const run = view.origin?.run;
  const open = () => {
    if (run) put("long-form", { tags: textsOf(run).tags, sections: textsOf(run).lyrics.split(/\n\n+/) });
    go({ tab: "long-form" });
  };
  if (total <= LONGEST)
    return html`<p class="quiet">${t("form.extend.total", { total: number(total, 1) })}</p>`;
  return html`<p class="warn" role="status">
    ${t("form.extend.long", { total: number(total, 1), most: LONGEST })}
    ${" "}<button class="small" onClick=${open}>${t("form.extend.sections")}</button>
  </p>`;
}
