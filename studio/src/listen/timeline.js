/** Seconds under the waveform, as close as there is room for. */
import { html } from "../html.js";
import { placeOf, view, width } from "./view.js";

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60];
const NARROWEST = 56; // pixels between two labels

export function Timeline() {
  const [first, last] = view.value;
  const step = STEPS.find((each) => (each / (last - first)) * width.value >= NARROWEST) ?? 60;
  const count = Math.floor(last / step + 1e-6) - Math.ceil(first / step - 1e-6) + 1;
  const marks = last > first ? Array.from({ length: count }, (_, i) => (Math.ceil(first / step - 1e-6) + i) * step) : [];
  return html`
    <div class="timeline" aria-hidden="true">
      ${marks.map((seconds) => html`<span key=${seconds} style=${{ left: `${placeOf(seconds)}%` }}>${label(seconds, step)}</span>`)}
    </div>
  `;
}

/** @param {number} seconds @param {number} step */
function label(seconds, step) {
  const rest = (seconds % 60).toFixed(step < 1 ? 1 : 0);
  return `${Math.floor(seconds / 60)}:${rest.padStart(step < 1 ? 4 : 2, "0")}`;
}
