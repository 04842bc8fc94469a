/** Keys of the page, and the list of them behind `?`. No key acts while one types. */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { t } from "../words.js";

/** @typedef {{textKey: string, action: (event: KeyboardEvent) => void}} Command */

/** @type {Map<string, Command>} */
const commands = new Map();

const TYPING =
  "input:not([type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable], dialog *";
const PRESSED = "button, a, summary, input, [role=tab], [role=slider], [role=button]";
/** Keys that such elements take for themselves. */
const THEIRS = [" ", "Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];

/** Whether the list of keys is open. */
export const listOpen = signal(false);

/**
 * Let a key do something, and list it.
 *
 * @param {string} key  as in `KeyboardEvent.key`; of letters, either case acts
 * @param {string} textKey  what it does, as a key of the texts
 * @param {(event: KeyboardEvent) => void} action
 * @returns {() => void} takes it back
 */
export function onKey(key, textKey, action) {
  const command = { textKey, action };
  commands.set(key.toLowerCase(), command);
  return () => {
    if (commands.get(key.toLowerCase()) === command) commands.delete(key.toLowerCase());
  };
}

/** @param {KeyboardEvent} event */
function press(event) {
  const target = /** @type {Element} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || target.closest?.(TYPING))
    return;
  if (THEIRS.includes(event.key) && target.closest?.(PRESSED)) return;
  const command = commands.get(event.key.toLowerCase());
  if (!command) return;
  event.preventDefault();
  command.action(event);
}

addEventListener("keydown", press);
onKey("?", "window.keys", () => (listOpen.value = true));

/** @param {string} key */
const shown = (key) => (key === " " ? t("window.space") : key.length === 1 ? key.toUpperCase() : key);

export function KeyList() {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const open = listOpen.value;
  useEffect(() => {
    if (open) dialog.current?.showModal();
  }, [open]);
  if (!open) return null;
  return html`
    <dialog ref=${dialog} class="keys" aria-labelledby="keys-title" onClose=${() => (listOpen.value = false)}>
      <h2 id="keys-title">${t("window.keys")}</h2>
      <dl>
        ${[...commands].map(([key, { textKey }]) => html`
          <div><dt><kbd>${shown(key)}</kbd></dt><dd>${t(textKey)}</dd></div>`)}
        <div><dt><kbd>Ctrl</kbd> <kbd>Enter</kbd></dt><dd>${t("window.key.generate")}</dd></div>
      </dl>
      <p class="quiet">${t("window.keys.typing")}</p>
      <form method="dialog"><button autofocus>${t("window.close")}</button></form>
    </dialog>
  `;
}
