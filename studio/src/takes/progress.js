/** How far a run is: queue, nodes, steps, seconds; and the button that ends it. */
import { useEffect, useState } from "preact/hooks";
import { html } from "../html.js";
import { number, t } from "../words.js";
import { failed } from "../window/notice.js";
import { cancel, inHand, loadTake } from "./store.js";

/** Seconds between two looks at queue and estimate, and between two texts that are read aloud. */
const PAUSE = 5;

/** @type {Record<string, string>} */
const MARKS = {
  cached: "✓",
  finished: "✓",
  skipped: "–",
  failed: "!",
  cancelled: "×",
  started: "▸",
  progress: "▸",
};

/** @param {{run: Run}} props */
export function Progress({ run }) {
  const [said, say] = useState("");
  useEffect(() => {
    if (!inHand(run)) return undefined;
    const timer = setInterval(
      () =>
        loadTake(run.id).then(
          (now) => say(summary(now)),
          () => null,
        ),
      PAUSE * 1000,
    );
    say(summary(run));
    return () => clearInterval(timer);
  }, [run.id, run.state]);
  const stop = () => cancel(run.id).catch(failed);
  const ends = run.cancel_requested && inHand(run);
  return html`
    <section class="making" aria-label=${t("take.progress")}>
      <div class="whole">
        <progress max="1" value=${run.progress} aria-label=${t("take.progress")}></progress>
        <span class="summary">${summary(run)}</span>
        ${inHand(run) && html`
          <button disabled=${ends} onClick=${stop}>${t(ends ? "take.ending" : "take.cancel")}</button>`}
      </div>
      <p class="unseen" aria-live="polite">${said}</p>
      <ul class="nodes">${run.nodes?.map((node) => html`<${Node} key=${node.id} node=${node} />`)}</ul>
    </section>
  `;
}

/** What one reads at a glance. @param {Run} run */
function summary(run) {
  if (run.state === "queued" && run.queue_position) return t("take.before", { count: run.queue_position });
  const left = run.estimate ? ` · ${t("take.left", { seconds: number(Math.ceil(run.estimate), 0) })}` : "";
  const done = run.state === "running" ? ` ${number(Math.floor(run.progress * 100), 0)} %` : "";
  return `${t(`take.state.${run.state}`)}${done}${inHand(run) ? left : ""}`;
}

/** @param {{node: RunNode}} props */
function Node({ node }) {
  const mark = MARKS[node.state] ?? "·";
  const isSampling = ["started", "progress"].includes(node.state) && node.steps;
  const detail = isSampling
    ? t("take.step", { step: node.step ?? 0, steps: node.steps ?? 0 })
    : t(`take.node.${node.state === "progress" ? "started" : node.state}`);
  const took = node.seconds && node.state === "finished" ? ` ${number(node.seconds, 1)} s` : "";
  return html`
    <li class="node ${node.state}">
      <span class="mark" aria-hidden="true">${mark}</span>
      <span class="name">${node.id}</span>
      <span class="stage quiet">${node.stage}</span>
      <span class="detail">${detail}${took}</span>
    </li>
  `;
}
