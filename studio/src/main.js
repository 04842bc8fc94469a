/** Starts the page. */
import { effect } from "@preact/signals";
import { render } from "preact";
import "./style/app.css";
import { html } from "./html.js";
import { spoken, tab, theme } from "./address.js";
import { graphOf } from "./form/view.js";
import { loadCatalog } from "./model.js";
import { follow } from "./takes/follow.js";
import { App } from "./window/app.js";
import { failed } from "./window/notice.js";
import { speak } from "./words.js";

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
await speak(spoken.value);
effect(() => void speak(spoken.value).catch(failed));
follow();
loadCatalog(graphOf(tab.value)).catch((error) => error.status !== 401 && failed(error));
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("studio")));
