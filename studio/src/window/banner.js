/** Above all: the server is away, or asks to wait. The form stays usable. */
import { html } from "../html.js";
import { t } from "../words.js";
import { lost, refusal, release } from "./connection.js";

export function Banner() {
  const refused = refusal.value;
  return html`
    <div role="alert" aria-live="assertive">${lost.value && html`<p class="banner">${t("window.lost")}</p>`}</div>
    ${refused &&
    html`
      <div class="banner" role="group" aria-label=${t("window.wait")}>
        <span role="status">${refused.text}</span>
        <span>${t("window.again", { seconds: refused.seconds })}</span>
        <button onClick=${() => release(true)}>${t("window.now")}</button>
        <button onClick=${() => release(false)}>${t("window.give-up")}</button>
      </div>
    `}
  `;
}
