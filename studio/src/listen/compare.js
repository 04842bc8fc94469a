/** A/B: a take against another on one clock, equally loud, also without knowing which is which. */
import { computed, effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { html, Select, Switch } from "../html.js";
import { parentOf, relabel, takes } from "../takes/store.js";
import { onKey } from "../window/keys.js";
import { failed } from "../window/notice.js";
import { number, t } from "../words.js";
import { offsetOf } from "./locality.js";
import { shown } from "./player.js";
import { fullNameOf, peaksOf, soundsOf } from "./sounds.js";
import { follow, setLevels } from "./voices.js";

const MOST_CHOICES = 200;
const SMALLEST_DIFFERENCE = 0.1; // dB

/** The take that is compared with the shown one. @type {Signal<string | null>} */
const other = signal(null);
/** Which of the two is heard. */
const side = signal(/** @type {0 | 1} */ (0));
/** Decibels by which the other one is louder. */
const louder = signal(0);
const matched = signal(true);
/** In a blind test: which side is called 1. @type {Signal<0 | 1 | null>} */
const first = signal(null);

const sides = computed(() => /** @type {(0 | 1)[]} */ (first.value === 1 ? [1, 0] : [0, 1]));

/** @param {number} decibels */
const gain = (decibels) => 10 ** (Math.min(0, decibels) / 20);

effect(() => {
  if (!other.value) return;
  const level = matched.value ? [gain(louder.value), gain(-louder.value)] : [1, 1];
  setLevels(side.value === 0 ? [level[0], 0] : [0, level[1]]);
});

onKey("x", "listen.key.swap", () => {
  if (other.value) side.value = side.value === 0 ? 1 : 0;
});

/** @param {Run} run @param {Run | null} against @param {number} offset */
function begin(run, against, offset) {
  const [sound, theirs] = [shown.value, against && soundsOf(against)[0]];
  side.value = 0;
  first.value = null;
  louder.value = 0;
  other.value = null;
  if (!against || !sound || !theirs || sound.run !== run.id) return follow([]);
  follow([{ url: theirs.url, offset }]);
  other.value = against.id;
  Promise.all([peaksOf(sound), peaksOf(theirs)]).then(
    ([ours, their]) => other.value === against.id && (louder.value = their.level - ours.level),
    () => null,
  );
}

/** @param {Run} run @param {0 | 1 | null} better  a side; null where there is no difference */
async function vote(run, better) {
  const against = /** @type {string} */ (other.value);
  first.value = null;
  const word = better === null ? "same" : better === 0 ? "better" : "worse";
  await relabel(run.id, { vote: `${word} ${against}` }).catch(failed);
}

/** What a blind test said, in words. @param {Run} run */
function verdictOf(run) {
  const [word, id] = (run.labels.vote ?? "").split(" ");
  if (!["better", "worse", "same"].includes(word)) return null;
  const than = takes.value.get(id);
  return t(`listen.vote.${word}`, { other: than ? fullNameOf(than) : id });
}

/** @param {{run: Run, reports: Reports | null}} props */
export function Compare({ run, reports }) {
  useEffect(() => () => begin(run, null, 0), [run.id, shown.value?.url]);
  const parent = parentOf(run);
  const others = [...takes.value.values()].filter((each) => each.id !== run.id && soundsOf(each).length);
  const choices = others.slice(0, MOST_CHOICES);
  if (parent && !choices.includes(parent) && soundsOf(parent).length) choices.unshift(parent);
  if (!choices.length) return null;
  const against = other.value ? (takes.value.get(other.value) ?? null) : null;
  /** @param {string} id */
  const choose = (id) => {
    begin(run, takes.value.get(id) ?? null, id === parent?.id ? offsetOf(run, reports) : 0);
  };
  /** @param {Run} each */
  const nameFor = (each) => {
    return each === parent ? t("listen.parent", { title: fullNameOf(each) }) : fullNameOf(each);
  };
  return html`
    <section class="compare" aria-labelledby="compare-title">
      <h3 id="compare-title">${t("listen.compare")}</h3>
      <div class="row">
        <${Select}
          aria-label=${t("listen.compare-with")} value=${other.value ?? ""}
          options=${[["", t("listen.compare-none")], ...choices.map((each) => [each.id, nameFor(each)])]}
          set=${choose}
        />
        ${parent && !against && html`
          <button onClick=${() => choose(parent.id)}>${t("listen.compare-parent")}</button>`}
      </div>
      ${against && html`<${Sides} run=${run} against=${against} />`}
      ${verdictOf(run) && first.value === null && html`<p class="verdict">${verdictOf(run)}</p>`}
    </section>
  `;
}

/** @param {{run: Run, against: Run}} props */
function Sides({ run, against }) {
  const isBlind = first.value !== null;
  const names = [fullNameOf(run), fullNameOf(against)];
  const difference = louder.value;
  const turned = difference > 0 ? 1 : 0;
  const isEqual = Math.abs(difference) < SMALLEST_DIFFERENCE;
  const decibels = number(Math.abs(difference), 1);
  const key = isEqual ? "listen.equally-loud" : "listen.turned-down";
  const loudness = t(key, { which: "AB"[turned], decibels });
  const match = (/** @type {boolean} */ isOn) => (matched.value = isOn);
  const blind = (/** @type {boolean} */ isOn) => {
    first.value = !isOn ? null : Math.random() < 0.5 ? 0 : 1;
    if (first.value !== null) side.value = first.value;
  };
  return html`
    <div class="row sides" role="group" aria-label=${t("listen.sides")}>
      ${sides.value.map((each, i) => html`
        <button aria-pressed=${side.value === each} onClick=${() => (side.value = each)}>
          <b>${isBlind ? i + 1 : "AB"[each]}</b> ${isBlind ? "" : names[each]}</button>`)}
      <kbd title=${t("listen.key.swap")}>X</kbd>
    </div>
    <div class="row">
      <${Switch} label=${t("listen.match")} isOn=${matched.value} set=${match} />
      ${matched.value && !isBlind && html`<span class="quiet">${loudness}</span>`}
      <${Switch} label=${t("listen.blind")} isOn=${isBlind} set=${blind} />
    </div>
    ${isBlind && html`
      <div class="row" role="group" aria-label=${t("listen.vote")}>
        ${sides.value.map((each, i) => html`
          <button onClick=${() => vote(run, each)}>${t("listen.vote-for", { number: i + 1 })}</button>`)}
        <button onClick=${() => vote(run, null)}>${t("listen.vote-same")}</button>
      </div>`}
  `;
}
