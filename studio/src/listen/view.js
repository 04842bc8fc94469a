/** Which seconds of the song the waveform shows, and where a second lies in it. */
import { signal } from "@preact/signals";

/** First and last visible second. @type {Signal<[number, number]>} */
export const view = signal([0, 0]);

/** Width of the window in pixels. */
export const width = signal(0);

/** How many times the whole song is wider than the window. */
export const zoom = signal(1);
export const LARGEST_ZOOM = 64;

/** @param {number} factor */
export const zoomBy = (factor) => (zoom.value = Math.min(LARGEST_ZOOM, Math.max(1, zoom.value * factor)));

/** Where a second lies, in per cent of the window's width. @param {number} seconds */
export function placeOf(seconds) {
  const [first, last] = view.value;
  return last > first ? (100 * (seconds - first)) / (last - first) : 0;
}

/** Left and width of a part, cut at the window's edges. @param {number} start @param {number} end */
export function boxOf(start, end) {
  const [left, right] = [placeOf(start), placeOf(end)].map((place) => Math.min(100, Math.max(0, place)));
  return { left: `${left}%`, width: `${right - left}%` };
}
