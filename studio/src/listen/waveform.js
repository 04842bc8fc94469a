/** The waveform: drawn from the server's peaks before the audio has come, with zoom and marks. */
import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import WaveSurfer from "wavesurfer.js";
import { html } from "../html.js";
import { onKey } from "../window/keys.js";
import { clock, t } from "../words.js";
import { Ends, markByDragging, Span } from "./marks.js";
import { duration, playing, position, seek, shown } from "./player.js";
import { peaksOf } from "./sounds.js";
import { placeOf, view, width, zoom, zoomBy } from "./view.js";

const HEIGHT = 120;
const NONCE = document.querySelector("meta[name=csp-nonce]")?.getAttribute("content") ?? undefined;

/** @param {{children?: any}} props  what lies under the waveform, on its scale */
export function Waveform({ children }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  useEffect(() => mount(/** @type {HTMLDivElement} */ (box.current)), []);
  const label = t("listen.waveform", { title: shown.value?.title ?? "" });
  return html`
    <${Ends}>
      <div class="wave">
        <div ref=${box} role="img" aria-label=${label}></div>
        <${Span} />
        <${Timeline} />
        ${children}
      </div>
    <//>
  `;
}

/** @param {HTMLDivElement} box @returns {() => void} takes it away again */
function mount(box) {
  const wave = WaveSurfer.create({
    ...coloursOf(box),
    container: box,
    height: HEIGHT,
    cursorWidth: 2,
    barWidth: 2,
    barGap: 1,
    barRadius: 1,
    cspNonce: NONCE,
  });
  const renderer = wave.getRenderer();
  const look = () => {
    width.value = wave.getWidth(); // 0 while another pane is shown
    const whole = wave.getWrapper().scrollWidth;
    const seconds = wave.getDuration();
    if (!whole || !seconds) return;
    const first = (wave.getScroll() / whole) * seconds;
    view.value = [first, first + (width.value / whole) * seconds];
  };
  for (const event of /** @type {const} */ (["scroll", "redraw", "ready", "resize"])) wave.on(event, look);
  wave.on("interaction", seek);
  const recolour = () => wave.setOptions(coloursOf(box));
  const observer = new MutationObserver(recolour);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme", "style"] });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", recolour);
  const ends = [
    effect(() => draw(wave)),
    effect(() => {
      if (wave.getDuration())
        renderer.renderProgress(position.value / wave.getDuration(), playing.value !== null);
    }),
    effect(() => {
      const factor = zoom.value;
      if (wave.getDecodedData()) zoomTo(wave, factor);
    }),
    onKey("+", "listen.key.zoom-in", () => zoomBy(1.5)),
    onKey("-", "listen.key.zoom-out", () => zoomBy(1 / 1.5)),
    markByDragging(box),
    zoomByHand(box),
    () => observer.disconnect(),
    () => scheme.removeEventListener("change", recolour),
    () => wave.destroy(),
  ];
  return () => ends.forEach((end) => end());
}

/** @param {WaveSurfer} wave */
function draw(wave) {
  const sound = shown.value;
  view.value = [0, 0];
  if (!sound) return wave.empty();
  peaksOf(sound).then(
    ({ top, bottom, seconds }) => {
      if (shown.peek()?.url !== sound.url) return;
      zoom.value = 1;
      duration.value ||= seconds;
      wave.load("", [top, bottom], seconds).then(
        () => wave.getRenderer().renderProgress(position.peek() / seconds),
        () => null,
      );
    },
    () => wave.empty(),
  );
}

/** Zoom around the position, if it is visible, or the middle.
 * @param {WaveSurfer} wave @param {number} factor */
function zoomTo(wave, factor) {
  const [first, last] = view.peek();
  const at = position.peek();
  const middle = at >= first && at <= last ? at : (first + last) / 2;
  const seconds = wave.getDuration();
  wave.zoom(factor === 1 ? 0 : (wave.getWidth() / seconds) * factor);
  wave.setScrollTime(Math.max(0, middle - seconds / factor / 2));
}

/** Zoom by the wheel with Ctrl, as trackpads send a pinch too, and by two fingers.
 * @param {HTMLElement} box */
function zoomByHand(box) {
  /** @type {Map<number, PointerEvent>} */
  const fingers = new Map();
  const stop = new AbortController();
  const apart = () => {
    const [one, two] = [...fingers.values()];
    return Math.abs(one.clientX - two.clientX) + 1;
  };
  /** @param {PointerEvent} event */
  const move = (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = fingers.size === 2 ? apart() : 0;
    fingers.set(event.pointerId, event);
    if (before) zoomBy(apart() / before);
  };
  /** @param {WheelEvent} event */
  const turn = (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 200));
  };
  const { signal } = stop;
  box.addEventListener("wheel", turn, { passive: false, signal });
  box.addEventListener(
    "pointerdown",
    (event) => event.pointerType === "touch" && fingers.set(event.pointerId, event),
    { signal },
  );
  box.addEventListener("pointermove", move, { signal });
  for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
    addEventListener(end, (event) => fingers.delete(event.pointerId), { signal });
  }
  return () => stop.abort();
}

/** The canvas takes no variables, so the style sheet gives its colours through the element's own.
 * @param {Element} box */
function coloursOf(box) {
  const { color, caretColor, outlineColor } = getComputedStyle(box);
  return { waveColor: color, progressColor: caretColor, cursorColor: outlineColor };
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60];
const NARROWEST = 56; // pixels between two labels

/** Seconds under the waveform, as close as there is room for. */
function Timeline() {
  const [first, last] = view.value;
  const step = STEPS.find((each) => (each / (last - first)) * width.value >= NARROWEST) ?? 60;
  const count = Math.floor(last / step + 1e-6) - Math.ceil(first / step - 1e-6) + 1;
  const marks =
    last > first ? Array.from({ length: count }, (_, i) => (Math.ceil(first / step - 1e-6) + i) * step) : [];
  const digits = step < 1 ? 1 : 0;
  return html`
    <div class="timeline" aria-hidden="true">
      ${marks.map((seconds) => html`
        <span key=${seconds} style=${{ left: `${placeOf(seconds)}%` }}>${clock(seconds, digits)}</span>`)}
    </div>
  `;
}
