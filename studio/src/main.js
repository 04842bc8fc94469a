/** Starts the page. */
import { effect } from "@preact/signals";
import { render } from "preact";
import "./style/app.css";
import { html } from "./html.js";
import { spoken, theme } from "./address.js";
import { speak } from "./words.js";
import { loadModel } from "./model.js";
import { follow } from "./takes/follow.js";
import { loadPage } from "./takes/store.js";
import { App } from "./window/app.js";
import { notice } from "./window/notice.js";

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
await speak(spoken.value || navigator.language);
effect(() => {
  speak(spoken.value || navigator.language).catch((error) => notice(error.message, { kind: "error" }));
});
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("studio")));
try {
  await Promise.all([loadModel(), loadPage()]);
} catch (error) {
  const { message, status } = /** @type {import("./http.js").ServerError} */ (error);
  if (status !== 401) notice(message, { kind: "error" });
}
follow();
