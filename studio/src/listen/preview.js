/** Previews: how an unfinished song sounds after a step, in the same player. */
import { computed, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { address } from "../http.js";
import { titleOf } from "../takes/facts.js";
import { inHand } from "../takes/store.js";
import { show, shown } from "./player.js";

/** @typedef {import("../types.js").Run} Run @typedef {import("../types.js").Preview} Preview */

/** The preview that is shown. @type {import("@preact/signals").Signal<{step: number, steps: number} | null>} */
const current = signal(null);
export const preview = computed(() => (shown.value?.name === "preview" ? current.value : null));

/** The latest preview of a run. @param {Run} run @returns {Preview | null} */
function latest(run) {
  const previews = (run.nodes ?? []).flatMap((node) => (node.preview ? [node.preview] : []));
  return previews.at(-1) ?? null;
}

/** Show the latest preview of a run while it is made; the position is kept when the next one comes. @param {Run} run */
export function usePreview(run) {
  const found = inHand(run) ? latest(run) : null;
  useEffect(() => {
    if (!found) return undefined;
    const stop = new AbortController();
    load(run, found, stop.signal).catch(() => null); // it was replaced meanwhile; the next one comes
    return () => stop.abort();
  }, [run.id, found?.url, found?.step]);
}

let last = "";

/** @param {Run} run @param {Preview} found @param {AbortSignal} signal */
async function load(run, { url, step, steps }, signal) {
  const answer = await fetch(address(url), { credentials: "same-origin", signal });
  if (!answer.ok) return;
  const file = await answer.blob();
  if (signal.aborted) return;
  const next = URL.createObjectURL(file);
  current.value = { step, steps };
  show({ run: run.id, name: "preview", url: next, peaks: file, title: titleOf(run) }, { stay: shown.value?.run === run.id });
  URL.revokeObjectURL(last);
  last = next;
}
