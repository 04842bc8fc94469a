/** Two lyrics, line by line: what stays, goes and comes. */
import { html } from "../html.js";
import { t } from "../words.js";

/** @typedef {{kind: "same" | "out" | "in", text: string}} Line */

/**
 * The shortest way from one text to another, by a longest common subsequence of lines.
 *
 * @param {string} before
 * @param {string} after
 * @returns {Line[]}
 */
export function difference(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  const common = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  /** @type {Line[]} */
  const lines = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) lines.push({ kind: "same", text: a[(j++, i++)] });
    else if (i < a.length && (j === b.length || common[i + 1][j] >= common[i][j + 1]))
      lines.push({ kind: "out", text: a[i++] });
    else lines.push({ kind: "in", text: b[j++] });
  }
  return lines;
}

/** How many lines change: those that come or go, the greater number. @param {Line[]} lines */
export function changedLines(lines) {
  const count = (/** @type {string} */ kind) => lines.filter((line) => line.kind === kind).length;
  return Math.max(count("in"), count("out"));
}

/** Lines that one small edit changes. */
const AT_ONCE = 3;

/**
 * The lyrics after each small edit: one for each group of lines that change together, or three of it.
 *
 * @param {string} before
 * @param {string} after
 */
export function smallSteps(before, after) {
  let [group, first, steps] = [0, 0, 0];
  let counts = { same: 0, in: 0, out: 0 };
  const lines = difference(before, after).map((line, at, all) => {
    if (line.kind === "same") return { ...line, place: at, turn: 0 };
    if (at === 0 || all[at - 1].kind === "same")
      [group, first, counts] = [at, steps, { same: 0, in: 0, out: 0 }];
    const turn = first + Math.floor(counts[line.kind]++ / AT_ONCE);
    steps = Math.max(steps, turn + 1);
    return { ...line, place: group, turn };
  });
  lines.sort((a, b) => a.place - b.place || a.turn - b.turn);
  return Array.from({ length: steps }, (_, done) => {
    const kept = lines.filter(({ kind, turn }) => kind === "same" || turn <= done === (kind === "in"));
    return kept.map((line) => line.text).join("\n");
  });
}

const MARKS = { same: " ", out: "−", in: "+" };

/** @param {{before: string, after: string}} props */
export function Difference({ before, after }) {
  const lines = difference(before, after);
  if (!changedLines(lines)) return html`<p class="quiet">${t("form.difference.none")}</p>`;
  return html`
    <div class="difference" role="group" aria-label=${t("form.difference")} tabindex="0">
      ${lines.map(({ kind, text }) => {
        const Tag = kind === "out" ? "del" : kind === "in" ? "ins" : "span";
        return html`<${Tag} class="row"><span aria-hidden="true">${MARKS[kind]} </span>${text || " "}<//>`;
      })}
    </div>
  `;
}
