/** The player: what is heard, and where. One clock for the whole page. */
import { effect, signal } from "@preact/signals";
import { go } from "../address.js";
import { marking, span } from "../span.js";
import { loadTake, takes } from "../takes/store.js";
import { onKey } from "../window/keys.js";
import { notice } from "../window/notice.js";
import { t } from "../words.js";
import { soundsOf } from "./sounds.js";
import { empty, follow, main } from "./voices.js";

/** @typedef {import("./sounds.js").Sound} Sound */

/** What the waveform shows and Play plays. @type {import("@preact/signals").Signal<Sound | null>} */
export const shown = signal(null);
/** What is heard now. @type {import("@preact/signals").Signal<{run: string, name: string} | null>} */
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

/** Play what is shown, or a take, which is chosen then. @param {string} [runId] @param {string} [name] of its output */
export async function play(runId, name) {
  if (runId && (shown.value?.run !== runId || (name && shown.value.name !== name))) {
    const sounds = soundsOf(takes.value.get(runId) ?? (await loadTake(runId)));
    const sound = sounds.find((each) => each.name === name) ?? sounds[0];
    if (!sound) return;
    go({ take: runId });
    show(sound);
  }
  inSpan.value = false;
  start();
}

export const pause = () => main.pause();

function start() {
  if (!shown.value) return;
  main.play().catch((error) => {
    if (error.name !== "AbortError") notice(t("listen.cannot-play"), { kind: "error" });
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

function eachFrame() {
  tick();
  if (!main.paused) requestAnimationFrame(eachFrame);
}

main.addEventListener("play", () => {
  playing.value = shown.value && { run: shown.value.run, name: shown.value.name };
  requestAnimationFrame(eachFrame);
});
// another source ends playing without a word
for (const event of ["pause", "emptied"]) main.addEventListener(event, () => (playing.value = null));
main.addEventListener("timeupdate", tick);
main.addEventListener("durationchange", () => (duration.value = Number.isFinite(main.duration) ? main.duration : duration.value));
main.addEventListener("ended", () => arrive(0, duration.value));
main.addEventListener("error", () => main.getAttribute("src") && notice(t("listen.cannot-play"), { kind: "error" }));
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
