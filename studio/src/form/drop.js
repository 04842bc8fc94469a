/** Files that come in: from a picker, or dropped anywhere on the window. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { go, tab as openTab } from "../address.js";
import { html } from "../html.js";
import { t } from "../words.js";
import { put, turn } from "./drafts.js";
import { loadFile } from "./load.js";
import { say } from "./messages.js";
import { hasRecipe, upload } from "./upload.js";
import { viewOf } from "./view.js";

/** Whether a file hangs over the window. */
const isOver = signal(false);

/**
 * Take an audio file: send it, make it the source, and offer the settings inside.
 *
 * @param {File | undefined} file
 * @param {(value: string) => void} [set]  what it is given to
 */
export async function take(file, set) {
  if (!file) return;
  if (file.name.endsWith(".json")) return loadFile(file);
  try {
    const { id } = await upload(file);
    const value = `asset:${id}`;
    if (set) set(value);
    const load = { label: t("form.load.inside"), run: () => loadFile(file) };
    const tabs = set ? [] : ["repaint", "edit", "extend", "text2music"];
    const uses = tabs.map((name) => ({ label: t(`form.use.${name}`), run: () => use(name, value) }));
    const actions = [...uses, ...((await hasRecipe(file)) ? [load] : [])];
    if (actions.length) say(t("form.uploaded", { name: file.name }), { actions });
  } catch (error) {
    say(`${file.name}: ${/** @type {Error} */ (error).message}`, { kind: "wrong" });
  }
}

/** Make a file the source of a tab, and open it. @param {string} tab @param {string} value */
function use(tab, value) {
  if (tab === "text2music") turn(tab, "audio2audio", true);
  put(tab, { [tab === "text2music" ? "reference" : "source"]: value });
  go({ tab });
}

/** @param {DragEvent} event */
const hasFiles = (event) => !!event.dataTransfer?.types.includes("Files");

/** The place under the whole window where files fall. */
export function Drop() {
  useEffect(() => {
    const over = (/** @type {DragEvent} */ event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      isOver.value = true;
    };
    const leave = (/** @type {DragEvent} */ event) => event.relatedTarget === null && (isOver.value = false);
    const drop = (/** @type {DragEvent} */ event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      isOver.value = false;
      const tab = openTab.value;
      const name = viewOf(tab)?.from;
      const set = name && name !== "take" ? (/** @type {string} */ value) => put(tab, { [name]: value }) : undefined;
      take(event.dataTransfer?.files[0], set);
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, []);
  return isOver.value && html`<div class="drop" aria-hidden="true">${t("form.drop")}</div>`;
}

