/** Play, position, loop, zoom, and which of a take's sounds. */
import { html, named, Shape, typed } from "../html.js";
import { marking } from "../span.js";
import { clock, t } from "../words.js";
import {
  duration,
  inSpan,
  looping,
  pause,
  playing,
  playSpan,
  position,
  seek,
  show,
  shown,
  toggle,
} from "./player.js";
import { nameOf, soundsOf } from "./sounds.js";
import { LARGEST_ZOOM, zoom, zoomBy } from "./view.js";

/** @param {{run: Run}} props */
export function Transport({ run }) {
  const isPlaying = playing.value !== null;
  const sounds = soundsOf(run);
  return html`
    <div class="transport" role="group" aria-label=${t("listen.player")}>
      <button
        class="play" aria-label=${t(isPlaying ? "listen.pause" : "listen.play")} title=${t("listen.key.play")}
        onClick=${toggle}
      ><${Shape} name=${isPlaying ? "pause" : "play"} /></button>
      <span class="clock"><b>${clock(position.value, 1)}</b> / ${clock(duration.value, 1)}</span>
      <input
        class="seek" type="range" min="0" max=${duration.value || 1} step="0.1" value=${position.value}
        aria-label=${t("listen.position")} aria-valuetext=${clock(position.value, 1)}
        onInput=${typed((text) => seek(Number(text)))}
      />
      <button
        ...${named("listen.loop")} aria-pressed=${looping.value}
        onClick=${() => (looping.value = !looping.value)}
      ><${Shape} name="loop" /></button>
      ${marking.value === "span" && html`
        <button
          ...${named("listen.play-span")} aria-pressed=${inSpan.value}
          onClick=${() => (inSpan.value && isPlaying ? pause() : playSpan())}
        ><${Shape} name="span" /></button>`}
      <button
        class="zoom" ...${named("listen.key.zoom-out")} disabled=${zoom.value <= 1}
        onClick=${() => zoomBy(1 / 1.5)}
      >−</button>
      <button
        class="zoom" ...${named("listen.key.zoom-in")} disabled=${zoom.value >= LARGEST_ZOOM}
        onClick=${() => zoomBy(1.5)}
      >+</button>
    </div>
    ${sounds.length > 1 && html`
      <div class="sounds row" role="group" aria-label=${t("listen.sounds")}>
        ${sounds.map((sound) => html`
          <button
            aria-pressed=${shown.value?.name === sound.name} onClick=${() => show(sound, { stay: true })}
          >${nameOf(sound.name)}</button>`)}
      </div>`}
  `;
}
