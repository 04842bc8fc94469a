/** Files that come in: from a picker, or dropped anywhere on the window. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { go, tab as openTab } from "../address.js";
import { html } from "../html.js";
import { failed, notice } from "../window/notice.js";
import { t } from "../words.js";
import { put, turn } from "./drafts.js";
import { loadFile } from "./load.js";
import { hasRecipe, upload } from "./upload.js";
import { viewOf } from "./view.js";

/** Whether a file hangs over the window. */
const isOver = signal(false);

/**
 * Take an audio file: send it, make it the source, and offer the settings inside.
 *
 * @param {File} file
 * @param {(value: string) => void} [set]  what it is given to
 */
export async function take(file, set) {
  if (file.name.endsWith(".json")) return loadFile(file);
  try {
    const { id } = await upload(file);
    const value = `asset:${id}`;
    if (set) set(value);
    const load = { label: t("form.load.inside"), run: () => loadFile(file) };
    const tabs = set ? [] : ["repaint", "edit", "extend", "text2music"];
    const uses = tabs.map((name) => ({ label: t(`form.use.${name}`), run: () => use(name, value) }));
    const actions = [...uses, ...((await hasRecipe(file)) ? [load] : [])];
    if (actions.length) notice(t("form.uploaded", { name: file.name }), { actions });
  } catch (error) {
    failed(new Error(`${file.name}: ${/** @type {Error} */ (error).message}`));
  }
}

/** Make a file the source of a tab, and open it. @param {string} tab @param {string} value */
function use(tab, value) {
  if (tab === "text2music") turn(tab, "audio2audio", true);
  put(tab, { [tab === "text2music" ? "reference" : "source"]: value });
  go({ tab });
}

/** @param {DragEvent} event @param {boolean} isHeld  whether it goes on hanging there */
function hang(event, isHeld) {
  if (!event.dataTransfer?.types.includes("Files")) return [];
  event.preventDefault();
  isOver.value = isHeld;
  return [...event.dataTransfer.files];
}

/** @param {DragEvent} event */
function drop(event) {
  const [file] = hang(event, false);
  if (!file) return;
  const tab = openTab.value;
  const name = viewOf(tab)?.from;
  take(file, name && name !== "take" ? (value) => put(tab, { [name]: value }) : undefined);
}

/** The place under the whole window where files fall. */
export function Drop() {
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    addEventListener("dragover", (event) => hang(event, true), { signal });
    addEventListener("dragleave", (event) => event.relatedTarget === null && (isOver.value = false), {
      signal,
    });
    addEventListener("drop", drop, { signal });
    return () => stop.abort();
  }, []);
  return isOver.value && html`<div class="drop" aria-hidden="true">${t("form.drop")}</div>`;
}
