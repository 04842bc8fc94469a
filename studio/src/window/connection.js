/** Whether the server is there, lets one in, and takes requests now. Others wait for it here. */
import { signal } from "@preact/signals";

/** Whether the server cannot be reached. */
export const lost = signal(false);

/** Whether the server wants a key first. */
export const keyWanted = signal(false);

/** A refusal that says when to try again.
 * @type {Signal<{text: string, seconds: number} | null>} */
export const refusal = signal(null);

/** Seconds between two looks at whether a lost server is back, at the most. */
const LONGEST = 5;

/** @type {Promise<void> | null} */
let search = null;

/** @type {Set<(again: boolean) => void>} */
const waiting = new Set();

/** @param {number} seconds */
export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export function signedOut() {
  keyWanted.value = true;
}

/** Wait until the server is reached again. */
export function untilReached() {
  lost.value = true;
  search ??= find().finally(() => (search = null));
  return search;
}

/** Whether the server is reached, and takes runs. */
export async function isThere() {
  const answer = await fetch(new URL("../readyz", location.href), { cache: "no-store" }).catch(() => null);
  return answer?.ok ?? false;
}

async function find() {
  for (let pause = 0.5; ; pause = Math.min(LONGEST, pause * 1.5)) {
    await sleep(pause);
    if (await isThere()) break;
  }
  lost.value = false;
}

/**
 * Wait as long as an error asks for.
 *
 * @param {import("../http.js").ServerError} error
 * @returns {Promise<boolean>} whether to try again; false where the person gave it up
 */
export async function untilAgain(error) {
  if (error.status === 0) {
    await untilReached();
    return true;
  }
  /** @type {Promise<boolean>} */
  const again = new Promise((resolve) => waiting.add(resolve));
  if (waiting.size === 1) countDown(error.message, Math.ceil(error.retryAfter ?? 1));
  return again;
}

/** @param {string} text @param {number} from */
async function countDown(text, from) {
  for (let seconds = from; seconds > 0 && waiting.size; seconds--) {
    refusal.value = { text, seconds };
    await sleep(1);
  }
  release(true);
}

/** Let those who wait go: to try again, or to give up. @param {boolean} again */
export function release(again) {
  refusal.value = null;
  for (const resolve of waiting) resolve(again);
  waiting.clear();
}
