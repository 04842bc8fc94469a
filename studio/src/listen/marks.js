/**
 * Marks on the waveform: a span with two handles, or new parts at the song's ends. Our own, not the library's
 * regions: its handles lie in its shadow tree without a role, and cannot lie beyond the song.
 */
import { useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { ends, FRAME, marking, span } from "../span.js";
import { onKey } from "../window/keys.js";
import { number, t } from "../words.js";
import { duration, position } from "./player.js";
import { boxOf, placeOf, view, width } from "./view.js";

const MOST_ADDED = 239;
const ROOMS = [5, 10, 20, 30, 60, 120, MOST_ADDED];
const SHORTEST_DRAG = 5; // pixels

/** @param {number} seconds */
const round = (seconds) => Math.round(seconds * 100) / 100;

/** Move the span's ends, in order, inside the song and a frame apart.
 * @param {number} start @param {number} end */
export function mark(start, end) {
  const length = duration.value;
  const first = Math.min(Math.max(0, start), Math.max(0, length - FRAME));
  const last = Math.min(Math.max(end, first + FRAME), length);
  span.value = [round(first), last === length ? length : round(last)];
}

/** Each end gives way to the other one where the keys set it: the last one pressed counts. */
onKey("i", "listen.key.start", () => {
  if (marking.value === "span") mark(position.value, Math.max(position.value + FRAME, span.value[1]));
});
onKey("o", "listen.key.end", () => {
  if (marking.value === "span") mark(Math.min(span.value[0], position.value - FRAME), position.value);
});

/**
 * A handle that the mouse, a finger and keys move.
 *
 * @typedef {object} HandleProps
 * @property {string} name
 * @property {string} label
 * @property {() => number} read  the value now, since events may come faster than a page is drawn
 * @property {number} least
 * @property {number} most
 * @property {number} place  in per cent of the width
 * @property {boolean} [isTurned]  whether to the left is more
 * @property {() => number} perPixel  seconds
 * @property {(seconds: number) => void} onMove
 * @property {(isHeld: boolean) => void} [onHold]
 */

/** @param {HandleProps} props */
function Handle({ name, label, read, least, most, place, isTurned = false, perPixel, onMove, onHold }) {
  const drag = useRef(/** @type {{x: number, value: number, perPixel: number} | null} */ (null));
  const value = read();
  const sign = isTurned ? -1 : 1;
  /** @param {PointerEvent} event */
  const hold = (event) => {
    event.preventDefault();
    const handle = /** @type {HTMLElement} */ (event.currentTarget);
    handle.setPointerCapture(event.pointerId);
    handle.focus();
    drag.current = { x: event.clientX, value: read(), perPixel: perPixel() };
    onHold?.(true);
  };
  /** @param {PointerEvent} event */
  const move = ({ clientX }) => {
    const from = drag.current;
    if (from) onMove(from.value + sign * (clientX - from.x) * from.perPixel);
  };
  const release = () => {
    drag.current = null;
    onHold?.(false);
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const step = event.shiftKey ? 1 : event.altKey ? 0.01 : 0.1;
    const way = { ArrowLeft: -sign, ArrowDown: -1, ArrowRight: sign, ArrowUp: 1 }[event.key];
    const to = way ? read() + way * step : { Home: least, End: most }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    onMove(to);
  };
  return html`
    <div
      class="handle ${name}" role="slider" tabindex="0" aria-label=${label} aria-valuemin=${round(least)}
      aria-valuemax=${round(most)} aria-valuenow=${round(value)}
      aria-valuetext=${t("listen.seconds", { seconds: number(value) })} style=${{ left: `${place}%` }}
      onPointerDown=${hold} onPointerMove=${move} onPointerUp=${release} onPointerCancel=${release}
      onKeyDown=${press}
    ></div>
  `;
}

/** Seconds of a pixel of the waveform. */
const secondsPerPixel = () => (view.value[1] - view.value[0]) / (width.value || 1);

export function Span() {
  const [start, end] = span.value;
  if (marking.value !== "span" || end <= start || view.value[1] === 0) return null;
  /** @type {HandleProps[]} */
  const handles = [
    {
      name: "start",
      label: t("listen.span-start"),
      read: () => span.value[0],
      least: 0,
      most: end - FRAME,
      place: placeOf(start),
      perPixel: secondsPerPixel,
      onMove: (to) => mark(Math.min(to, span.peek()[1] - FRAME), span.peek()[1]),
    },
    {
      name: "end",
      label: t("listen.span-end"),
      read: () => span.value[1],
      least: start + FRAME,
      most: duration.value,
      place: placeOf(end),
      perPixel: secondsPerPixel,
      onMove: (to) => mark(span.peek()[0], to),
    },
  ];
  // the file's length and that of its peaks differ in the last digits
  const visible = handles.filter(({ place }) => place > -0.5 && place < 100.5);
  return html`
    <div class="span" style=${boxOf(start, end)}></div>
    ${visible.map((handle) => html`<${Handle} key=${handle.name} ...${handle} />`)}
  `;
}

/** Drag over the waveform to mark a span anew; a click stays a click.
 * @param {HTMLElement} box @returns {() => void} */
export function markByDragging(box) {
  const stop = new AbortController();
  const { signal } = stop;
  let from = NaN;
  let isDrag = false;
  /** @param {PointerEvent} event */
  const secondAt = (event) => {
    return view.value[0] + (event.clientX - box.getBoundingClientRect().left) * secondsPerPixel();
  };
  /** @param {PointerEvent} event */
  const down = (event) => {
    const isMarking = marking.value === "span" && event.pointerType === "mouse" && event.button === 0;
    from = isMarking ? secondAt(event) : NaN;
    isDrag = false;
  };
  /** @param {PointerEvent} event */
  const move = (event) => {
    if (Number.isNaN(from)) return;
    const to = secondAt(event);
    isDrag ||= Math.abs(to - from) > SHORTEST_DRAG * secondsPerPixel();
    if (isDrag) mark(Math.min(from, to), Math.max(from, to));
  };
  box.addEventListener("pointerdown", down, { signal });
  addEventListener("pointermove", move, { signal });
  addEventListener("pointerup", () => (from = NaN), { signal });
  box.addEventListener("click", (event) => isDrag && event.stopPropagation(), { capture: true, signal });
  return () => stop.abort();
}

/** The waveform with room at its ends for what is added. @param {{children: any}} props */
export function Ends({ children }) {
  if (marking.value !== "ends" || !duration.value) return html`<div class="ends">${children}</div>`;
  return html`<div class="ends"><${Room} side="left" />${children}<${Room} side="right" /></div>`;
}

/** @param {{side: "left" | "right"}} props */
function Room({ side }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  /** The room stays as it is while its handle is held. */
  const [held, setHeld] = useState(/** @type {number | null} */ (null));
  const value = ends.value[side];
  const room = held ?? ROOMS.find((each) => each > value) ?? MOST_ADDED;
  const share = (100 * value) / room;
  /** @type {HandleProps} */
  const handle = {
    name: "end",
    label: t(`listen.add-${side}`),
    read: () => ends.value[side],
    least: 0,
    most: MOST_ADDED,
    place: side === "left" ? 100 - share : share,
    isTurned: side === "left",
    perPixel: () => room / (box.current?.clientWidth || 1),
    onMove: (seconds) => {
      const added = Math.min(Math.max(0, seconds), held ?? MOST_ADDED);
      ends.value = { ...ends.value, [side]: round(added) };
    },
    onHold: (isHeld) => setHeld(isHeld ? room : null),
  };
  return html`
    <div class="room ${side}" ref=${box} style=${{ flexGrow: room }}>
      <div class="new" style=${{ width: `${share}%` }}>
        <span>${value ? `+${number(value)} s` : ""}</span>
      </div>
      <${Handle} ...${handle} />
    </div>
  `;
}
