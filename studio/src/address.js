/** What the address of the page says: `#/take/RUN?tab=repaint`. So back, reload and links work. */
import { signal } from "@preact/signals";

/** Id of the chosen take; null for none. @type {import("@preact/signals").Signal<string | null>} */
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

function read() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [, kind, id] = path.split("/");
  chosen.value = kind === "take" && id ? decoded(id) : null;
  const said = new URLSearchParams(query);
  for (const [name, value] of Object.entries(SIGNALS)) {
    value.value = said.get(name) ?? DEFAULTS[name];
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
  const said = Object.entries(all).filter(([name, value]) => name === "tab" || value !== DEFAULTS[name]);
  const hash = `#${take ? `/take/${encodeURIComponent(take)}` : "/"}?${new URLSearchParams(said)}`;
  if (hash === location.hash) return;
  history.pushState(null, "", hash);
  read();
}

addEventListener("hashchange", read);
addEventListener("popstate", read);
read();
