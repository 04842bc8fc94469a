/**
 * What is marked on the waveform. The open form decides what may be marked, and reads it; the waveform draws
 * and drags it.
 */
import { signal } from "@preact/signals";

/** @typedef {"none" | "span" | "ends"} Marking  a span inside the song, or new parts at its ends */

/** @type {Signal<Marking>} */
export const marking = signal("none");

/** The marked span: start and end in seconds. @type {Signal<[number, number]>} */
export const span = signal([0, 0]);

/** Seconds to add at both ends. @type {Signal<{left: number, right: number}>} */
export const ends = signal({ left: 0, right: 30 });

/** Shortest span: one frame of latents, in seconds (spec 01: 44100 / (512 * 8) frames a second). */
export const FRAME = (512 * 8) / 44100;

/** What is added at an end of a song is whole frames. @param {number} seconds */
export const inFrames = (seconds) => Math.floor(seconds / FRAME + 1e-6) * FRAME;
