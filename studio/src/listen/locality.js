/** What an edit changed and where: as a strip under the waveform, and in words. */
import { useEffect, useState } from "preact/hooks";
import { html } from "../html.js";
import { get } from "../http.js";
import { inFrames } from "../span.js";
import { output } from "../takes/store.js";
import { number, t } from "../words.js";
import { duration } from "./player.js";
import { boxOf, view } from "./view.js";

/** @typedef {{seconds: number, relative: number | null, decibels: number | null, rms: number}} Change */
/** @typedef {Record<"inside" | "edges" | "outside", Change | null>} Locality */
/** @typedef {{start: number, end: number, level_step_db: number | null}} Joint */
/** @typedef {{report?: {locality?: Locality}, heard?: Locality & {given?: Locality},
 *   joints?: {kept: string, joints: Joint[]}}} Reports */
/** @typedef {{kind: "inside" | "edges" | "outside" | "old" | "new", start: number, end: number}} Part */

const EDGE = 1; // seconds, as the server compares
const REGIONS = /** @type {const} */ (["inside", "edges", "outside"]);

/** The reports of a take; null until they have come. @param {Run} run @returns {Reports | null} */
export function useReports(run) {
  const [reports, setReports] = useState(/** @type {{run: string, reports: Reports} | null} */ (null));
  useEffect(() => {
    let isCurrent = true;
    const wanted = ["report", "heard", "joints"].flatMap((name) => {
      const file = output(run, name);
      return file && !file.expired ? [get(file.url).then((content) => [name, content])] : [];
    });
    Promise.all(wanted).then(
      (entries) => isCurrent && setReports({ run: run.id, reports: Object.fromEntries(entries) }),
      () => null,
    );
    return () => void (isCurrent = false);
  }, [run.id, run.state]);
  return reports?.run === run.id ? reports.reports : null;
}

/** The second of an extended song at which the song before begins.
 * @param {Run} run @param {Reports | null} reports */
export function offsetOf(run, reports) {
  const left = run.graph === "extend" ? (run.inputs?.left ?? 0) : 0;
  if (!left) return 0;
  return reports?.joints?.joints[0]?.start ?? inFrames(left);
}

/** The parts of a take by what happened to them.
 * @param {Run} run @param {Reports | null} reports @returns {Part[]} */
function partsOf(run, reports) {
  const length = duration.value;
  const { span, left, right } = run.inputs ?? {};
  if (span) {
    const [start, end] = [span.start ?? span[0], span.end ?? span[1] ?? length];
    return [
      { kind: "outside", start: 0, end: start - EDGE },
      { kind: "edges", start: Math.max(0, start - EDGE), end: start },
      { kind: "inside", start, end },
      { kind: "edges", start: end, end: Math.min(length, end + EDGE) },
      { kind: "outside", start: end + EDGE, end: length },
    ];
  }
  if (run.graph !== "extend") return [];
  const offset = offsetOf(run, reports);
  const added = inFrames(right ?? 0);
  const last = right ? (reports?.joints?.joints.at(-1)?.end ?? length - added) : length;
  return [
    { kind: "new", start: 0, end: left ? offset : 0 },
    { kind: "old", start: left ? offset : 0, end: last },
    { kind: "new", start: last, end: length },
  ];
}

/** @param {{run: Run, reports: Reports | null}} props */
export function Strip({ run, reports }) {
  const [first, last] = view.value;
  const parts = partsOf(run, reports).filter(({ start, end }) => end > start && end > first && start < last);
  if (!parts.length || !duration.value) return null;
  const heard = reports?.heard;
  const shown = heard?.given ?? heard;
  return html`
    <ul class="strip" aria-label=${t("listen.strip")}>
      ${parts.map(({ kind, start, end }) => {
        const isKept = kind === "old" && reports?.joints?.kept === "samples"; // but for crossfades
        const change = kind === "new" || isKept ? null : shown?.[kind === "old" ? "outside" : kind];
        const words = `${t(`listen.part.${kind}`)}${change ? ` ${amount(change)}` : ""}`;
        const title = `${number(start)}–${number(end)} s: ${words}`;
        return html`<li class=${kind} style=${boxOf(start, end)} title=${title}><span>${words}</span></li>`;
      })}
    </ul>
  `;
}

/** How large a change is, in words. @param {Change} change */
function amount({ rms, decibels, relative }) {
  if (rms === 0) return t("listen.same");
  if (decibels === null || relative === null) return t("listen.from-silence");
  const percent = number(100 * relative, relative < 0.1 ? 1 : 0);
  return t("listen.decibels", { decibels: signed(decibels), percent });
}

/** @param {number} decibels */
const signed = (decibels) => `${decibels < 0 ? "−" : "+"}${number(Math.abs(decibels), 1)}`;

/** @param {{reports: Reports | null}} props */
export function Report({ reports }) {
  const latents = reports?.report?.locality;
  const heard = reports?.heard;
  if (!latents && !heard) return null;
  /** @type {[string, Locality | undefined][]} */
  const rows = [["given", heard?.given], ["latents", latents], ["decoded", heard]];
  const used = REGIONS.filter((region) => rows.some(([, row]) => row?.[region]));
  const joints = reports?.joints?.joints ?? [];
  return html`
    <section class="locality" aria-labelledby="locality-title">
      <h3 id="locality-title">${t("listen.changed")}</h3>
      <p>${inWords(reports ?? {})}</p>
      <details>
        <summary>${t("listen.figures")}</summary>
        <table>
          <thead>
            <tr>
              <td></td>${used.map((region) => html`<th scope="col">${t(`listen.part.${region}`)}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${rows.map(([name, row]) => row && html`
              <tr><th scope="row">${t(`listen.row.${name}`)}</th>
                ${used.map((region) => html`<td>${row[region] ? amount(row[region]) : "–"}</td>`)}</tr>`)}
          </tbody>
        </table>
        <p class="quiet">${t("listen.decibels-mean")}</p>
        <ul class="joints">${joints.map((joint) => html`<li>${atJoint(joint)}</li>`)}</ul>
        <p class="quiet">${t("listen.phases")}</p>
      </details>
    </section>
  `;
}

/** @param {Joint} joint */
function atJoint({ start, end, level_step_db: step }) {
  return t("listen.joint", { at: number((start + end) / 2), step: step === null ? "–" : signed(step) });
}

/** @param {Reports} reports */
function inWords({ report, heard, joints }) {
  const sentences = [];
  const isLonger = heard ? !heard.inside && !heard.edges : false;
  const where = t(isLonger ? "listen.where.old" : "listen.where.outside");
  const latents = report?.locality?.outside;
  const kept = heard?.given?.outside ?? heard?.outside;
  if (latents) {
    const key = latents.rms === 0 ? "listen.latents-same" : "listen.latents-differ";
    sentences.push(t(key, { where, amount: amount(latents) }));
  }
  const isSame = kept && (kept.rms === 0 || (isLonger && joints?.kept === "samples"));
  if (isSame) sentences.push(t("listen.heard-same"));
  else if (kept) sentences.push(t("listen.heard-differ", { amount: amount(kept) }));
  const inside = heard?.given?.inside ?? heard?.inside;
  if (inside) sentences.push(t(kept ? "listen.inside" : "listen.whole", { amount: amount(inside) }));
  return sentences.join(" ");
}
