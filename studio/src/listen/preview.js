/** Previews: how an unfinished song sounds after a step, in the same player. */
import { computed, effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { titleOf } from "../takes/facts.js";
import { take } from "../takes/store.js";
import { fetchFile } from "./files.js";
import { show, shown } from "./player.js";
import { soundsOf } from "./sounds.js";

/** The preview that is shown. @type {Signal<{step: number, steps: number} | null>} */
const current = signal(null);
export const preview = computed(() => (shown.value?.name === "preview" ? current.value : null));

/** Where a preview is that the server has removed. */
const gone = signal("");

/** The latest preview of a run that has no song, or none yet.
 * @param {Run | null} run @returns {Preview | null} */
function latest(run) {
  if (!run || soundsOf(run).length) return null;
  return (run.nodes ?? []).flatMap((node) => node.preview ?? []).at(-1) ?? null;
}

/** Whether a run that ended early has nothing that can be heard. @param {Run} run */
export const isSilent = (run) => !!run.nodes && (!latest(run) || latest(run)?.url === gone.value);

/** Show the latest preview of a run while it has no song; the position is kept when the next one comes. That of
 * a run which ended early stays for as long as the server keeps it. @param {Run} run */
export function usePreview(run) {
  const found = latest(run);
  useEffect(() => {
    if (found && !isLoading) load();
  }, [run.id, found?.url, found?.step]);
}

let isLoading = false;

/** Load the chosen take's previews one after the other: they may be made faster than they are fetched. */
async function load() {
  isLoading = true;
  for (let last = ""; ; ) {
    const run = /** @type {Run} */ (take.peek());
    const found = latest(run);
    const name = `${found?.url} ${found?.step}`;
    if (!found || name === last) break;
    last = name;
    const file = await fetchFile(found.url).catch(() => null);
    if (take.peek()?.id !== run.id || !latest(take.peek())) continue;
    if (file) present(run, found, file);
    else gone.value = found.url;
  }
  isLoading = false;
}

let blob = "";
effect(() => {
  if (shown.value?.url === blob) return;
  URL.revokeObjectURL(blob);
  blob = "";
});

/** @param {Run} run @param {Preview} found @param {Blob} file */
function present(run, { step, steps }, file) {
  const url = URL.createObjectURL(file);
  current.value = { step, steps };
  gone.value = "";
  const sound = { run: run.id, name: "preview", url, peaks: file, title: titleOf(run), asset: "" };
  show(sound, { stay: shown.value?.run === run.id });
  blob = url;
}
