/** A mixer for stems: what one hears here is only heard; "Mix down" makes a song of it on the server. */
import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { html, typed } from "../html.js";
import { address } from "../http.js";
import { catalog } from "../model.js";
import { submit, takes } from "../takes/store.js";
import { failed } from "../window/notice.js";
import { number, t } from "../words.js";
import { shown } from "./player.js";
import { fullNameOf, nameOf, soundsOf } from "./sounds.js";
import { follow, setLevels, setPans } from "./voices.js";

/**
 * @typedef {{name: string, url: string, asset: string, gain: number, pan: number, isMuted: boolean, isSolo:
 *   boolean}} Channel
 */

const LOUDNESS = -14; // LUFS, as stem-set has it

/** The open mixer's channels; null while it is closed.
 * @type {Signal<Channel[] | null>} */
const channels = signal(null);

/** @param {Channel} channel @param {Channel[]} all */
const isHeard = (channel, all) => (all.some((each) => each.isSolo) ? channel.isSolo : !channel.isMuted);

effect(() => {
  const all = channels.value;
  if (!all) return;
  setLevels([0, ...all.map((each) => (isHeard(each, all) ? 10 ** (Math.min(0, each.gain) / 20) : 0))]);
  setPans(all.map(({ pan }) => pan));
});

/** Whether an output is one of several stems. @param {{name: string}} sound */
const isStem = ({ name }) => name.startsWith("stems.");

/** What a take sounds like that has given its latents or its audio. @param {string} asset */
function heardOf(asset) {
  const filesOf = (/** @type {Run} */ run) => Object.values(run.outputs).flat();
  const parent = [...takes.value.values()].find((run) => filesOf(run).some((file) => file.asset === asset));
  const [song] = parent ? soundsOf(parent) : [];
  return parent && song && { name: fullNameOf(parent), url: song.url, asset: song.asset };
}

/** The stems, and the track that they were made for. @param {Run} run @returns {Channel[]} */
function channelsOf(run) {
  const made = soundsOf(run).filter(isStem).map(({ name, url, asset }, i) => {
    return { name: run.inputs?.instruments?.[i] ?? nameOf(name), url, asset };
  });
  const asset = run.inputs?.track?.asset;
  const upload = { name: t("listen.track"), url: address(`v1/assets/${asset}/content`), asset };
  const track = asset ? [heardOf(asset) ?? upload] : [];
  return [...track, ...made].map((each) => ({ ...each, gain: 0, pan: 0, isMuted: false, isSolo: false }));
}

/** @param {Channel[] | null} all */
function open(all) {
  channels.value = null;
  follow((all ?? []).map(({ url }) => ({ url, offset: 0 })), true);
  channels.value = all;
}

/** @param {Run} run @param {Channel[]} all */
function mixDown(run, all) {
  const heard = all.filter((each) => isHeard(each, all));
  const tracks = heard.map(({ gain, pan }) => ({ gain, ...(pan !== 0 && { pan }) }));
  const inputs = { stems: heard.map(({ asset }) => asset), tracks, loudness: LOUDNESS };
  submit("mix", inputs, { labels: { parent: run.id } }).catch(failed);
}

/** @param {{run: Run}} props */
export function Mixer({ run }) {
  useEffect(() => () => void (channels.value && open(null)), [run.id, shown.value?.url]);
  if (!soundsOf(run).some(isStem)) return null;
  const all = channels.value;
  const set = (/** @type {number} */ index) => (/** @type {Partial<Channel>} */ change) => {
    channels.value = (all ?? []).map((each, i) => (i === index ? { ...each, ...change } : each));
  };
  const canMix = catalog.value.graphs.some(({ name }) => name === "mix");
  return html`
    <section class="mixer" aria-labelledby="mixer-title">
      <h3 id="mixer-title">${t("listen.mixer")}</h3>
      <button aria-expanded=${all !== null} onClick=${() => open(all ? null : channelsOf(run))}>
        ${t(all ? "listen.mixer-close" : "listen.mixer-open")}
      </button>
      ${all && html`
        <ul>
          ${all.map((channel, i) => html`<${Strip} channel=${channel} set=${set(i)} />`)}
        </ul>
        <p class="quiet">${t("listen.mixer-here")}</p>
        ${canMix && html`
          <button disabled=${!all.some((each) => isHeard(each, all))} onClick=${() => mixDown(run, all)}>
            ${t("listen.mix-down")}
          </button>`}`}
    </section>
  `;
}

/** Where a channel stands, in words. @param {number} pan */
function placeOf(pan) {
  if (pan === 0) return t("listen.pan-middle");
  return t(pan < 0 ? "listen.pan-left" : "listen.pan-right", { percent: number(Math.abs(pan) * 100, 0) });
}

/** @param {{channel: Channel, set: (change: Partial<Channel>) => void}} props */
function Strip({ channel, set }) {
  const { name, gain, pan, isMuted, isSolo } = channel;
  const mute = { "aria-label": t("listen.mute", { name }), "aria-pressed": isMuted };
  const solo = { "aria-label": t("listen.solo", { name }), "aria-pressed": isSolo };
  return html`
    <li role="group" aria-label=${name}>
      <span class="name">${name}</span>
      <button ...${mute} onClick=${() => set({ isMuted: !isMuted })}>M</button>
      <button ...${solo} onClick=${() => set({ isSolo: !isSolo })}>S</button>
      <input
        type="range" min="-40" max="0" step="0.5" value=${gain} aria-label=${t("listen.level", { name })}
        aria-valuetext=${`${number(gain, 1)} dB`} onInput=${typed((text) => set({ gain: Number(text) }))}
      />
      <output>${number(gain, 1)} dB</output>
      <input
        class="pan" type="range" min="-1" max="1" step="0.05" value=${pan}
        aria-label=${t("listen.pan", { name })} aria-valuetext=${placeOf(pan)}
        onInput=${typed((text) => set({ pan: Number(text) }))}
      />
      <output>${placeOf(pan)}</output>
    </li>
  `;
}
