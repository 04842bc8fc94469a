/** The player: what is heard, and where. One clock for the whole page. */
import { effect, signal } from "@preact/signals";
import { marking, span } from "../span.js";
import { onKey } from "../window/keys.js";
import { failed } from "../window/notice.js";
import { t } from "../words.js";
import { empty, follow, main } from "./voices.js";

/** What the waveform shows and Play plays. @type {Signal<Sound | null>} */
export const shown = signal(null);
/** What is heard now. @type {Signal<{run: string, name: string} | null>} */
export const playing = signal(null);
export const position = signal(0);
export const duration = signal(0);
export const looping = signal(false);
/** Whether playing ends where the span ends. */
export const inSpan = signal(false);

const JUMP = 5;

/**
 * Show a sound. What was playing goes on with it.
 *
 * @param {Sound | null} sound
 * @param {{stay?: boolean}} [options]  whether to stay at the position
 */
export function show(sound, { stay = false } = {}) {
  if (sound?.url === shown.value?.url) return;
  const goesOn = !main.paused;
  const at = stay ? main.currentTime : 0;
  shown.value = sound;
  inSpan.value = false;
  position.value = at;
  duration.value = 0;
  follow([]);
  if (!sound) return empty(main);
  main.src = sound.url;
  main.currentTime = at;
  if (goesOn) start();
}

export const pause = () => main.pause();

const complain = () => failed({ message: t("listen.cannot-play") });

function start() {
  if (!shown.value) return;
  main.play().catch((error) => {
    if (error.name !== "AbortError") complain();
  });
}

export const toggle = () => (main.paused ? start() : pause());

/** Go to a second. @param {number} seconds */
export function seek(seconds) {
  position.value = Math.min(Math.max(0, seconds), duration.value);
  main.currentTime = position.value;
  const [first, last] = span.value;
  if (seconds < first || seconds > last) inSpan.value = false;
}

export function playSpan() {
  seek(span.value[0]);
  inSpan.value = true;
  start();
}

function tick() {
  position.value = main.currentTime;
  if (inSpan.value && main.currentTime >= span.value[1]) arrive(...span.value);
}

/** At the end of what is played. @param {number} first @param {number} last */
function arrive(first, last) {
  if (looping.value) {
    seek(first);
    return start();
  }
  pause();
  seek(last);
}

/** The frame that is waited for. One at most: another song, or another round of a loop, plays anew. */
let frame = 0;

function eachFrame() {
  tick();
  if (!main.paused) waitForFrame();
}

function waitForFrame() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(eachFrame);
}

main.addEventListener("play", () => {
  playing.value = shown.value && { run: shown.value.run, name: shown.value.name };
  waitForFrame();
});
// another source ends playing without a word
for (const event of ["pause", "emptied"]) main.addEventListener(event, () => (playing.value = null));
main.addEventListener("timeupdate", tick);
main.addEventListener("durationchange", () => {
  if (Number.isFinite(main.duration)) duration.value = main.duration;
});
main.addEventListener("ended", () => arrive(0, duration.value));
main.addEventListener("error", () => main.getAttribute("src") && complain());
effect(() => {
  if (marking.value !== "span") inSpan.value = false;
});

onKey(" ", "listen.key.play", toggle);
onKey("k", "listen.key.play", toggle);
onKey("j", "listen.key.back", () => seek(position.value - JUMP));
onKey("l", "listen.key.on", () => seek(position.value + JUMP));

const session = navigator.mediaSession;
if (session) {
  effect(() => {
    session.metadata = shown.value && new MediaMetadata({ title: shown.value.title });
    session.playbackState = playing.value ? "playing" : "paused";
  });
  session.setActionHandler("play", () => start());
  session.setActionHandler("pause", pause);
  session.setActionHandler("seekbackward", () => seek(position.value - JUMP));
  session.setActionHandler("seekforward", () => seek(position.value + JUMP));
  session.setActionHandler("seekto", (details) => seek(details.seekTime ?? 0));
}
