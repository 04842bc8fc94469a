/** The window: the form, the take, and the tree of takes; below 900 px one of them at a time. */
import { html } from "../html.js";
import { go, pane } from "../address.js";
import { t } from "../words.js";
import { keyWanted, lost, refusal, release } from "./connection.js";
import { KeyList } from "./keys.js";
import { Notices } from "./notice.js";
import { SignIn } from "./sign-in.js";
import { TopBar } from "./top-bar.js";
import { Form } from "../form/form.js";
import { Take } from "../listen/take.js";
import { Tree } from "../takes/tree.js";

const PARTS = { form: Form, take: Take, tree: Tree };

/** Above all: the server is away, or asks to wait. The form stays usable. */
function Banner() {
  const refused = refusal.value;
  return html`
    <div role="alert">${lost.value && html`<p class="banner">${t("window.lost")}</p>`}</div>
    ${refused && html`
      <div class="banner" role="group" aria-label=${t("window.wait")}>
        <span role="status">${refused.text}</span>
        <span>${t("window.again", { seconds: refused.seconds })}</span>
        <button onClick=${() => release(true)}>${t("window.now")}</button>
        <button onClick=${() => release(false)}>${t("window.give-up")}</button>
      </div>`}
  `;
}

export function App() {
  if (keyWanted.value) return html`<${Banner} /><${SignIn} />`;
  return html`
    <${Banner} />
    <${TopBar} />
    <${Notices} />
    <main class="panes" data-pane=${pane.value}>
      ${Object.entries(PARTS).map(
        ([name, Part]) =>
          html`<section class="pane ${name}" aria-label=${t(`pane.${name}`)}><${Part} /></section>`,
      )}
    </main>
    <nav class="parts" aria-label=${t("window.parts")}>
      ${Object.keys(PARTS).map((name) => html`
        <button
          aria-current=${pane.value === name ? "page" : null} onClick=${() => go({ pane: name })}
        >${t(`window.part.${name}`)}</button>`)}
    </nav>
    <${KeyList} />
  `;
}
