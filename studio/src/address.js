/** What the address of the page says: `#/take/RUN?tab=repaint`. So back, reload and links work. */
import { signal } from "@preact/signals";
import { keep, kept } from "./memory.js";

/** Id of the chosen take; null for none. @type {Signal<string | null>} */
export const chosen = signal(null);

/** Name of the open tab. */
export const tab = signal("text2music");

/** The part that a narrow window shows: "form", "take" or "tree". */
export const pane = signal("form");

/** Language and colours, where they are not the browser's. */
export const spoken = signal("");
export const theme = signal("");

const SIGNALS = { tab, pane, language: spoken, theme };
/** @type {Record<string, string>} */
const DEFAULTS = { tab: "text2music", pane: "form", language: "", theme: "" };

/** Language and colours that were chosen before: they count where the address says nothing. */
const PREFERENCES = "window";
/** @type {Record<string, string>} */
const preferred = kept(PREFERENCES, {});

function read() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [, kind, id] = path.split("/");
  chosen.value = kind === "take" && id ? decoded(id) : null;
  const said = new URLSearchParams(query);
  for (const [name, value] of Object.entries(SIGNALS)) {
    value.value = said.get(name) ?? preferred[name] ?? DEFAULTS[name];
  }
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Go to a take or a tab; what is not given stays. A narrow window shows the part that was gone to.
 *
 * @param {{take?: string | null, tab?: string, pane?: string, language?: string, theme?: string}} place
 */
export function go({ take = chosen.value, ...place }) {
  const shown = place.pane ?? (take && take !== chosen.value ? "take" : place.tab ? "form" : pane.value);
  const all = { tab: tab.value, language: spoken.value, theme: theme.value, ...place, pane: shown };
  const usual = { ...DEFAULTS, ...preferred };
  const said = Object.entries(all).filter(([name, value]) => name === "tab" || value !== usual[name]);
  const hash = `#${take ? `/take/${encodeURIComponent(take)}` : "/"}?${new URLSearchParams(said)}`;
  if (hash !== location.hash) history.pushState(null, "", hash);
  read();
}

/** Choose the language or the colours, for this browser.
 * @param {{language?: string, theme?: string}} choice */
export function prefer(choice) {
  Object.assign(preferred, choice);
  keep(PREFERENCES, preferred);
  go(choice);
}

addEventListener("hashchange", read);
addEventListener("popstate", read);
read();
