/**
 * Templates of the page (htm on Preact, no compile step to read them), and the small parts that many of them
 * have.
 */
import { h } from "preact";
import { useRef } from "preact/hooks";
import htm from "htm";
import { t } from "./words.js";

export const html = htm.bind(h);

/** Hands on what was typed or chosen. @param {(text: string) => void} set */
export const typed = (set) => (/** @type {{target: {value: string}}} */ event) => set(event.target.value);

/** Hands on whether a box is checked. @param {(isOn: boolean) => void} set */
const checked = (set) => (/** @type {{target: {checked: boolean}}} */ event) =>
  set(event.target.checked);

/** What a button without words is called. @param {string} key */
export const named = (key) => ({ title: t(key), "aria-label": t(key) });

/** Drawn, since signs of that kind are pictures in some fonts. */
const SHAPES = {
  play: "M5 3l14 9-14 9z",
  pause: "M5 3h5v18H5zm9 0h5v18h-5z",
  loop: "M7 7h10v3l4-4-4-4v3H5v6h2zm10 10H7v-3l-4 4 4 4v-3h12v-6h-2z",
  span: "M3 4h2v16H3zm16 0h2v16h-2zM8 7l9 5-9 5z",
  locked: "M6 10V8a6 6 0 0112 0v2h1v12H5V10zm3 0h6V8a3 3 0 00-6 0z",
  open: "M6 10V7a6 6 0 0111.3-2.8l-2.6 1.5A3 3 0 009 7v3h10v12H5V10z",
};

/** @param {{name: keyof typeof SHAPES, size?: number}} props */
export const Shape = ({ name, size = 20 }) => html`
  <svg viewBox="0 0 24 24" width=${size} height=${size} aria-hidden="true">
    <path fill="currentColor" d=${SHAPES[name]} />
  </svg>
`;

/**
 * A list to choose from. Values are told apart as texts.
 *
 * @param {{value: any, options: [any, string][], set: (value: string) => void, [attribute: string]: any}}
 *   props
 */
export const Select = ({ value, options, set, ...rest }) => html`
  <select value=${String(value)} onChange=${typed(set)} ...${rest}>
    ${options.map(([each, text]) => html`<option value=${String(each)}>${text}</option>`)}
  </select>
`;

/**
 * Few choices, side by side.
 *
 * @param {{name: string, value: any, options: [any, string][], set: (value: any) => void, [attribute:
 *   string]: any}} props
 */
export const Segments = ({ name, value, options, set, ...rest }) => html`
  <div class="segments" role="radiogroup" ...${rest}>
    ${options.map(([each, text]) => html`
      <label>
        <input type="radio" name=${name} checked=${each === value} onChange=${() => set(each)} />
        <span>${text}</span>
      </label>`)}
  </div>
`;

/** @param {{label: string, isOn: boolean, set: (isOn: boolean) => void, hint?: string}} props */
export const Switch = ({ label, isOn, set, hint }) => html`
  <label class="switch">
    <input type="checkbox" role="switch" checked=${isOn} onChange=${checked(set)} />
    <span>${label}${hint && html`<small class="quiet"> ${hint}</small>`}</span>
  </label>
`;

/** A button that asks for a file.
 * @param {{label: string, accept: string, take: (file: File) => Promise<any>}} props */
export function FileButton({ label, accept, take }) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  /** The same file may be chosen again. @param {{target: HTMLInputElement}} event */
  const chosen = ({ target }) =>
    target.files?.[0] && take(target.files[0]).finally(() => (target.value = ""));
  return html`
    <button class="small" onClick=${() => input.current?.click()}>${label}</button>
    <input ref=${input} type="file" hidden aria-label=${label} accept=${accept} onChange=${chosen} />
  `;
}
