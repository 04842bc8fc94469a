/** A mixer for stems: what one hears here is only heard; "Mix down" makes a song of it on the server. */
import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { html } from "../html.js";
import { address } from "../http.js";
import { graphs } from "../model.js";
import { takes } from "../takes/store.js";
import { submit } from "../takes/submit.js";
import { notice } from "../window/notice.js";
import { number, t } from "../words.js";
import { shown } from "./player.js";
import { fullNameOf, nameOf, soundsOf } from "./sounds.js";
import { follow, setLevels } from "./voices.js";

/** @typedef {import("../types.js").Run} Run */
/** @typedef {{name: string, url: string, asset: string, gain: number, isMuted: boolean, isSolo: boolean}} Channel */

const LOUDNESS = -14; // LUFS, as stem-set has it

/** The open mixer's channels; null while it is closed. @type {import("@preact/signals").Signal<Channel[] | null>} */
const channels = signal(null);

/** @param {Channel} channel @param {Channel[]} all */
const isHeard = (channel, all) => (all.some((each) => each.isSolo) ? channel.isSolo : !channel.isMuted);

effect(() => {
  const all = channels.value;
  if (all) setLevels([0, ...all.map((each) => (isHeard(each, all) ? 10 ** (Math.min(0, each.gain) / 20) : 0))]);
});

/** @param {Run} run @returns {Channel[]} the stems, and the track they were made for */
function channelsOf(run) {
  const stems = soundsOf(run).filter((sound) => sound.name.startsWith("stems."));
  const made = stems.map(({ name, url }, i) => {
    const output = /** @type {import("../types.js").Output} */ (run.outputs[name]);
    return { name: run.inputs?.instruments?.[i] ?? nameOf(name), url, asset: output.asset };
  });
  const track = run.inputs?.track?.asset;
  const parent = [...takes.value.values()].find((each) => each.outputs.audio && Object.values(each.outputs).flat().some((file) => file.asset === track));
  const song = parent && soundsOf(parent)[0];
  const given = song
    ? [{ name: fullNameOf(/** @type {Run} */ (parent)), url: song.url, asset: /** @type {any} */ (parent?.outputs[song.name]).asset }]
    : track
      ? [{ name: t("listen.track"), url: address(`v1/assets/${track}/content`), asset: track }]
      : [];
  return [...given, ...made].map((each) => ({ ...each, gain: 0, isMuted: false, isSolo: false }));
}

/** @param {Run} run @param {boolean} isOpen */
function open(run, isOpen) {
  channels.value = null;
  const all = isOpen ? channelsOf(run) : [];
  follow(all.map(({ url }) => ({ url, offset: 0 })));
  channels.value = isOpen ? all : null;
}

/** @param {Run} run @param {Channel[]} all */
async function mixDown(run, all) {
  const heard = all.filter((each) => isHeard(each, all));
  const inputs = { stems: heard.map((each) => each.asset), tracks: heard.map(({ gain }) => ({ gain })), loudness: LOUDNESS };
  await submit("mix", inputs, { labels: { parent: run.id } }).catch((error) => notice(error.message, { kind: "error" }));
}

/** @param {{run: Run}} props */
export function Mixer({ run }) {
  useEffect(() => () => open(run, false), [run.id, shown.value?.url]);
  if (!soundsOf(run).some((sound) => sound.name.startsWith("stems."))) return null;
  const all = channels.value;
  /** @param {number} index @param {Partial<Channel>} change */
  const set = (index, change) => (channels.value = (all ?? []).map((each, i) => (i === index ? { ...each, ...change } : each)));
  const canMix = graphs.value.some((graph) => graph.name === "mix");
  return html`
    <section class="mixer" aria-labelledby="mixer-title">
      <h3 id="mixer-title">${t("listen.mixer")}</h3>
      <button aria-expanded=${all !== null} onClick=${() => open(run, all === null)}>${t(all ? "listen.mixer-close" : "listen.mixer-open")}</button>
      ${all && html`
        <ul>${all.map((channel, i) => html`<${Strip} channel=${channel} set=${(/** @type {Partial<Channel>} */ change) => set(i, change)} />`)}</ul>
        <p class="quiet">${t("listen.mixer-here")}</p>
        ${canMix && html`<button disabled=${!all.some((each) => isHeard(each, all))} onClick=${() => mixDown(run, all)}>${t("listen.mix-down")}</button>`}`}
    </section>
  `;
}

/** @param {{channel: Channel, set: (change: Partial<Channel>) => void}} props */
function Strip({ channel, set }) {
  const { name, gain, isMuted, isSolo } = channel;
  return html`
    <li role="group" aria-label=${name}>
      <span class="name">${name}</span>
      <button aria-pressed=${isMuted} aria-label=${t("listen.mute", { name })} onClick=${() => set({ isMuted: !isMuted })}>M</button>
      <button aria-pressed=${isSolo} aria-label=${t("listen.solo", { name })} onClick=${() => set({ isSolo: !isSolo })}>S</button>
      <input type="range" min="-40" max="0" step="0.5" value=${gain} aria-label=${t("listen.level", { name })}
        aria-valuetext=${`${number(gain, 1)} dB`} onInput=${(/** @type {any} */ event) => set({ gain: Number(event.target.value) })} />
      <output>${number(gain, 1)} dB</output>
    </li>
  `;
}
