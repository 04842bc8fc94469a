/**
 * The media elements: the main one, whose clock is the page's, and those that follow it. Made once, used
 * again.
 */

export const main = new Audio();
main.preload = "metadata";

/** @typedef {{url: string, offset: number}} Source  `offset`: second of the main one at which it begins */
/** @typedef {{element: HTMLAudioElement, offset: number, place: ((pan: number) => void) | null}} Follower */

const LARGEST_DRIFT = 0.04;

/** Followers that are heard as they are, and those that go through the mixer's panning.
 * @type {Follower[][]} */
const [plain, placed] = [[], []];
/** @type {Follower[]} */
let followers = [];

/**
 * Let sources follow the main one; without any, the main one is heard.
 *
 * @param {Source[]} sources
 * @param {boolean} [isMixer]  whether they can be placed between left and right
 */
export function follow(sources, isMixer = false) {
  const pool = isMixer ? placed : plain;
  const before = followers;
  followers = sources.map(({ url, offset }, i) => {
    const follower = (pool[i] ??= made(isMixer));
    if (follower.element.src !== url) follower.element.src = url;
    return Object.assign(follower, { offset });
  });
  for (const each of before) if (!followers.includes(each)) empty(each.element);
  setLevels([1, ...sources.map(() => 0)]);
  followers.forEach(align);
}

/** @param {boolean} isMixer @returns {Follower} */
function made(isMixer) {
  const element = new Audio();
  element.preload = "auto";
  return { element, offset: 0, place: isMixer ? placerOf(element) : null };
}

/** @type {AudioContext | null} */
let context = null;

/** Sends an element through gains of its sides, as the server's mix has them.
 * @param {HTMLAudioElement} element */
function placerOf(element) {
  const audio = (context ??= new AudioContext());
  const stereo = new GainNode(audio, { channelCount: 2, channelCountMode: "explicit" });
  const split = new ChannelSplitterNode(audio, { numberOfOutputs: 2 });
  const joined = new ChannelMergerNode(audio, { numberOfInputs: 2 });
  const sides = [0, 1].map((side) => {
    const gain = new GainNode(audio);
    split.connect(gain, side).connect(joined, 0, side);
    return gain.gain;
  });
  audio.createMediaElementSource(element).connect(stereo).connect(split);
  joined.connect(audio.destination);
  return (/** @type {number} */ pan) => {
    const far = Math.cos((Math.abs(pan) * Math.PI) / 2);
    [sides[0].value, sides[1].value] = [pan > 0 ? far : 1, pan < 0 ? far : 1];
  };
}

/** How loud each is, the main one first: 0 to 1. @param {number[]} levels */
export function setLevels(levels) {
  for (const [i, element] of [main, ...followers.map((each) => each.element)].entries()) {
    element.volume = Math.min(1, levels[i]);
    element.muted = levels[i] === 0;
  }
}

/** Where each follower stands, from -1, left, to 1, right. @param {number[]} pans */
export const setPans = (pans) => pans.forEach((pan, i) => followers[i]?.place?.(pan));

/** @param {HTMLMediaElement} element */
export function empty(element) {
  element.removeAttribute("src");
  element.load();
}

/** @param {Follower} follower */
function align({ element, offset }) {
  const at = main.currentTime - offset;
  const isInside = at >= 0 && !(at >= element.duration);
  if (isInside && Math.abs(element.currentTime - at) > (main.paused ? 0.001 : LARGEST_DRIFT))
    element.currentTime = at;
  if (main.paused || !isInside) element.pause();
  else if (element.paused) element.play().catch(() => null);
}

for (const event of ["play", "playing", "pause", "seeking", "timeupdate", "ended"]) {
  main.addEventListener(event, () => followers.forEach(align));
}
main.addEventListener("play", () => context?.resume());
