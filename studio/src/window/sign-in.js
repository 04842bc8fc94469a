/**
 * The page of a server with keys: it takes the key once. The browser then has a session, and the page keeps
 * no key.
 */
import { signal } from "@preact/signals";
import { html } from "../html.js";
import { post, request } from "../http.js";
import { t } from "../words.js";

const problem = signal("");

/** @param {SubmitEvent} event */
async function signIn(event) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  try {
    await post("v1/session", { key: String(new FormData(form).get("key")).trim() });
    location.reload();
  } catch (error) {
    problem.value = /** @type {Error} */ (error).message;
  }
}

/** End the session. All that the page knows of the caller goes with it. */
export async function signOut() {
  await request("DELETE", "v1/session");
  location.hash = "";
  location.reload();
}

export function SignIn() {
  return html`
    <main class="sign-in">
      <form class="pane" onSubmit=${signIn}>
        <h1>${t("window.name")}</h1>
        <label>
          ${t("window.key")}
          <input
            name="key" type="password" required autofocus autocomplete="current-password"
            aria-describedby="key-problem"
          />
        </label>
        <p id="key-problem" class="wrong" role="alert">${problem}</p>
        <button class="main">${t("window.sign-in")}</button>
        <p class="quiet">${t("window.key.about")}</p>
      </form>
    </main>
  `;
}
