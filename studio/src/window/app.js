/** The window: the form, the take, and the tree of takes; below 900 px one of them at a time. */
import { html } from "../html.js";
import { go, pane } from "../address.js";
import { t } from "../words.js";
import { Banner } from "./banner.js";
import { keyWanted } from "./connection.js";
import { KeyList } from "./keys.js";
import { Notices } from "./notice.js";
import { SignIn } from "./sign-in.js";
import { TopBar } from "./top-bar.js";
import { Form } from "../form/form.js";
import { Take } from "../listen/take.js";
import { Tree } from "../takes/tree.js";

const PARTS = { form: Form, take: Take, tree: Tree };

export function App() {
  if (keyWanted.value) return html`<${Banner} /><${SignIn} />`;
  return html`
    <${Banner} />
    <${TopBar} />
    <main class="panes" data-pane=${pane.value}>
      ${Object.entries(PARTS).map(
        ([name, Part]) => html`<section class="pane ${name}" aria-label=${t(`pane.${name}`)}><${Part} /></section>`,
      )}
    </main>
    <nav class="parts" aria-label=${t("window.parts")}>
      ${Object.keys(PARTS).map(
        (name) => html`
          <button aria-current=${pane.value === name ? "page" : null} onClick=${() => go({ pane: name })}>${t(`window.part.${name}`)}</button>
        `,
      )}
    </nav>
    <${Notices} />
    <${KeyList} />
  `;
}
