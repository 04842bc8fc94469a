/** The media elements: the main one, whose clock is the page's, and those that follow it. Made once, used again. */

export const main = new Audio();
main.preload = "metadata";

/** @typedef {{url: string, offset: number}} Source  `offset`: second of the main one at which it begins */

const LARGEST_DRIFT = 0.04;

/** @type {HTMLAudioElement[]} */
const spare = [];
/** @type {{element: HTMLAudioElement, offset: number}[]} */
let followers = [];

/** Let sources follow the main one; without any, the main one is heard. @param {Source[]} sources */
export function follow(sources) {
  for (const { element } of followers.slice(sources.length)) empty(element);
  followers = sources.map(({ url, offset }, i) => {
    const element = (spare[i] ??= new Audio());
    element.preload = "auto";
    if (element.src !== url) element.src = url;
    return { element, offset };
  });
  setLevels([1, ...sources.map(() => 0)]);
  followers.forEach(align);
}

/** How loud each is, the main one first: 0 to 1. @param {number[]} levels */
export function setLevels(levels) {
  for (const [i, element] of [main, ...followers.map((each) => each.element)].entries()) {
    element.volume = Math.min(1, levels[i]);
    element.muted = levels[i] === 0;
  }
}

/** @param {HTMLMediaElement} element */
export function empty(element) {
  element.removeAttribute("src");
  element.load();
}

/** @param {{element: HTMLAudioElement, offset: number}} follower */
function align({ element, offset }) {
  const at = main.currentTime - offset;
  const isInside = at >= 0 && !(at >= element.duration);
  if (isInside && Math.abs(element.currentTime - at) > (main.paused ? 0.001 : LARGEST_DRIFT)) element.currentTime = at;
  if (main.paused || !isInside) element.pause();
  else if (element.paused) element.play().catch(() => null);
}

for (const event of ["play", "playing", "pause", "seeking", "timeupdate", "ended"]) {
  main.addEventListener(event, () => followers.forEach(align));
}
