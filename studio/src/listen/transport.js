/** Play, position, loop, zoom, and which of a take's sounds. */
import { html } from "../html.js";
import { marking } from "../span.js";
import { t } from "../words.js";
import { duration, inSpan, looping, pause, playing, playSpan, position, seek, show, shown, toggle } from "./player.js";
import { clock, nameOf, soundsOf } from "./sounds.js";
import { LARGEST_ZOOM, zoom, zoomBy } from "./view.js";

/** Drawn, since signs of that kind are pictures in some fonts. */
const SHAPES = {
  play: "M5 3l14 9-14 9z",
  pause: "M5 3h5v18H5zm9 0h5v18h-5z",
  loop: "M7 7h10v3l4-4-4-4v3H5v6h2zm10 10H7v-3l-4 4 4 4v-3h12v-6h-2z",
  span: "M3 4h2v16H3zm16 0h2v16h-2zM8 7l9 5-9 5z",
};

/** @param {{name: keyof typeof SHAPES}} props */
const Shape = ({ name }) => html`<svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><path fill="currentColor" d=${SHAPES[name]} /></svg>`;

/** @param {{run: import("../types.js").Run}} props */
export function Transport({ run }) {
  const isPlaying = playing.value !== null;
  const sounds = soundsOf(run);
  return html`
    <div class="transport" role="group" aria-label=${t("listen.player")}>
      <button class="play" aria-label=${t(isPlaying ? "listen.pause" : "listen.play")} title=${t("listen.key.play")} onClick=${toggle}>
        <${Shape} name=${isPlaying ? "pause" : "play"} /></button>
      <span class="clock"><b>${clock(position.value)}</b> / ${clock(duration.value)}</span>
      <input class="seek" type="range" min="0" max=${duration.value || 1} step="0.1" value=${position.value}
        aria-label=${t("listen.position")} aria-valuetext=${clock(position.value)}
        onInput=${(/** @type {any} */ event) => seek(Number(event.target.value))} />
      <button aria-label=${t("listen.loop")} title=${t("listen.loop")} aria-pressed=${looping.value} onClick=${() => (looping.value = !looping.value)}>
        <${Shape} name="loop" /></button>
      ${marking.value === "span" && html`
        <button aria-label=${t("listen.play-span")} title=${t("listen.play-span")} aria-pressed=${inSpan.value}
          onClick=${() => (inSpan.value && isPlaying ? pause() : playSpan())}><${Shape} name="span" /></button>`}
      <button class="zoom" aria-label=${t("listen.key.zoom-out")} title=${t("listen.key.zoom-out")} disabled=${zoom.value <= 1} onClick=${() => zoomBy(1 / 1.5)}>−</button>
      <button class="zoom" aria-label=${t("listen.key.zoom-in")} title=${t("listen.key.zoom-in")} disabled=${zoom.value >= LARGEST_ZOOM} onClick=${() => zoomBy(1.5)}>+</button>
    </div>
    ${sounds.length > 1 && html`
      <div class="sounds row" role="group" aria-label=${t("listen.sounds")}>
        ${sounds.map((sound) => html`
          <button aria-pressed=${shown.value?.name === sound.name} onClick=${() => show(sound, { stay: true })}>${nameOf(sound.name)}</button>`)}
      </div>`}
  `;
}
