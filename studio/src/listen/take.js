/** The chosen take: waveform, player, what changed, what it was made from. */
import { useEffect } from "preact/hooks";
import { html } from "../html.js";
import { chosen } from "../address.js";
import { loadSettings } from "../form/load.js";
import { titleOf } from "../takes/facts.js";
import { inHand, missing, parentOf, take } from "../takes/store.js";
import { Progress } from "../takes/progress.js";
import { moment, number, t } from "../words.js";
import { Compare } from "./compare.js";
import { Downloads } from "./downloads.js";
import { Report, Strip, useReports } from "./locality.js";
import { Mixer } from "./mixer.js";
import { duration, show, shown } from "./player.js";
import { isSilent, preview, usePreview } from "./preview.js";
import { Seeds } from "./seeds.js";
import { isExpired, soundsOf } from "./sounds.js";
import { Transport } from "./transport.js";
import { Waveform } from "./waveform.js";

export function Take() {
  const run = take.value;
  const id = chosen.value;
  useEffect(() => {
    if (!run) show(null);
  }, [id]);
  if (run) return html`<${Chosen} run=${run} />`;
  const said = missing.value ?? t(id ? "listen.loading" : "listen.choose");
  return html`<p class="empty" role="status">${said}</p>`;
}

/** @param {{run: Run}} props */
function Chosen({ run }) {
  const sounds = soundsOf(run);
  const reports = useReports(run);
  usePreview(run);
  useEffect(() => {
    if (sounds.some((sound) => sound.url === shown.value?.url)) return;
    const isSame = shown.value?.run === run.id; // its preview, or another of its sounds
    if (sounds.length) show(sounds[0], { stay: isSame });
    else if (!isSame) show(null);
  }, [run.id, sounds[0]?.url]);
  const isShown = shown.value?.run === run.id;
  return html`
    <article class="chosen" data-run=${run.id} aria-labelledby="take-title">
      <header>
        <h2 id="take-title">${titleOf(run)}</h2>
        <p class="quiet">${aboutOf(run)}</p>
      </header>
      <${Failure} run=${run} />
      ${run.state !== "succeeded" && html`<${Progress} run=${run} />`}
      ${isShown && html`
        ${preview.value && html`<p class="preview" role="status">${t("listen.preview", preview.value)}</p>`}
        <${Waveform}>${!preview.value && html`<${Strip} run=${run} reports=${reports} />`}<//>
        <${Transport} run=${run} />`}
      ${isExpired(run) && html`<p class="warning">${t("listen.expired")}</p>`}
      <${Seeds} run=${run} />
      ${run.warnings.length > 0 && html`
        <ul class="warnings" aria-label=${t("listen.warnings")}>
          ${run.warnings.map((text) => html`<li>${text}</li>`)}
        </ul>`}
      ${sounds.length > 0 && isShown && html`
        <${Compare} run=${run} reports=${reports} />
        <${Report} reports=${reports} />
        <${Mixer} run=${run} />`}
      <${Downloads} run=${run} />
      <${Settings} run=${run} />
    </article>
  `;
}

/** Graph, parent, length, and when and how fast it was made. @param {Run} run */
function aboutOf(run) {
  const parent = parentOf(run);
  const made = moment(run.created_at, { dateStyle: "medium", timeStyle: "short" });
  const length = shown.value?.run === run.id && duration.value ? `${number(duration.value)} s` : null;
  const took = run.seconds && !inHand(run) ? t("listen.took", { seconds: number(run.seconds, 1) }) : null;
  const from = parent && t("listen.from", { title: titleOf(parent) });
  return [run.graph, from, length, made, took].filter(Boolean).join(" · ");
}

/** What went wrong. @param {{run: Run}} props */
function Failure({ run }) {
  const { error } = run;
  const node = run.nodes?.find((each) => each.state === "failed")?.id ?? error?.node;
  const silent = isSilent(run) && html` ${t("listen.silent")}`;
  if (run.state === "cancelled") return html`<p class="warning">${t("listen.cancelled")}${silent}</p>`;
  if (!error) return null;
  return html`
    <div class="fault" role="alert">
      <b>${t("listen.failed")}</b> ${error.message}
      ${node && html` <span class="quiet">${t("listen.failed-node", { node })}</span>`}
    </div>
  `;
}

/** What the take was made from. @param {{run: Run}} props */
function Settings({ run }) {
  const inputs = run.inputs ?? {};
  const { tags, new_tags: newTags, lyrics, new_lyrics: newLyrics, ...others } = inputs;
  const given = Object.entries(others).filter(([, value]) => value !== null && value !== "");
  return html`
    <section class="settings" aria-labelledby="settings-title">
      <h3 id="settings-title">${t("listen.made-from")}</h3>
      ${tags && html`<p class="tags">${newTags ? `${tags} → ${newTags}` : tags}</p>`}
      ${(newLyrics ?? lyrics) && html`
        <details>
          <summary>${t("listen.lyrics")}</summary>
          <pre tabindex="0" aria-label=${t("listen.lyrics")}>${newLyrics ?? lyrics}</pre>
        </details>`}
      <details>
        <summary>${t("listen.settings")}</summary>
        <dl>${given.map(([name, value]) => html`<div><dt>${name}</dt><dd>${plain(value)}</dd></div>`)}</dl>
      </details>
      <button onClick=${() => loadSettings(run.graph, inputs, { source: run.id })}>
        ${t("listen.load-settings")}
      </button>
    </section>
  `;
}

/** @param {any} value @returns {string} */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (value && typeof value === "object") {
    return value.asset ?? Object.entries(value).map(([name, each]) => `${name} ${plain(each)}`).join(", ");
  }
  return typeof value === "number" ? number(value, 4) : String(value);
}
