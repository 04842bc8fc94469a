/** A take as files: the sound in four formats, latents, report, recipe, v1's parameters, and all of them at once. */
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { address, get } from "../http.js";
import { model } from "../model.js";
import { titleOf } from "../takes/facts.js";
import { output, parentOf } from "../takes/store.js";
import { notice } from "../window/notice.js";
import { t } from "../words.js";
import { duration, shown } from "./player.js";
import { soundsOf } from "./sounds.js";
import { asUpstream } from "./upstream.js";
import { zip } from "./zip.js";

/** @typedef {import("../types.js").Run} Run @typedef {import("../types.js").Output} Output */

const FORMATS = ["wav", "flac", "mp3", "ogg"];
const UNSAFE = /[\\/:*?"<>|\u0000-\u001f]+/g;

/** A file's name without its ending. @param {Run} run */
function stemOf(run) {
  const name = titleOf(run).replace(UNSAFE, "-").replace(/^[.\s]+/, "").slice(0, 80);
  return run.labels.title ? name : `${name} ${run.id.slice(-6)}`;
}

/** @param {Run} run @returns {Blob | null} */
function upstreamOf(run) {
  const parent = parentOf(run);
  const about = {
    seconds: duration.value,
    sampling: model.value?.sampling ?? {},
    file: `${stemOf(run)}.${run.format}`,
    source: parent && `${stemOf(parent)}.${parent.format}`,
  };
  const content = asUpstream(run, about);
  return content && new Blob([JSON.stringify(content, null, 4)], { type: "application/json" });
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A take's title is a better name than the server's, which a link would take. @param {MouseEvent} event @param {string} url @param {string} name */
function fetchAs(event, url, name) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  fetchFile(url).then((blob) => save(blob, name), (error) => notice(error.message, { kind: "error" }));
}

/** @param {string} url */
async function fetchFile(url) {
  const answer = await fetch(address(url), { credentials: "same-origin" });
  if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message ?? `${answer.status} ${answer.statusText}`);
  return answer.blob();
}

/** Every file of a take under a folder of its title. @param {Run} run */
async function saveAll(run) {
  const stem = stemOf(run);
  const outputs = /** @type {[string, Output][]} */ (Object.entries(run.outputs).filter(([, each]) => !Array.isArray(each) && !each.expired));
  const files = await Promise.all(
    outputs.map(async ([name, { url, file_name: fileName }]) => {
      const ending = fileName.slice(fileName.lastIndexOf("."));
      return { name: `${stem}/${name === "audio" ? stem : name}${ending}`, content: await fetchFile(url) };
    }),
  );
  const params = upstreamOf(run);
  if (params) files.push({ name: `${stem}/${stem}_input_params.json`, content: params });
  save(await zip(files, new Date(run.created_at)), `${stem}.zip`);
}

/** @param {{run: Run}} props */
export function Downloads({ run }) {
  const [isBusy, setBusy] = useState(false);
  const sounds = soundsOf(run);
  const sound = sounds.find((each) => each.name === shown.value?.name) ?? sounds[0];
  const files = Object.entries(run.outputs).filter(([name, file]) => !Array.isArray(file) && file.kind !== "audio" && name !== "recipe" && !file.expired);
  const recipe = output(run, "recipe");
  if (!Object.keys(run.outputs).length) return null;
  const stem = stemOf(run) + (sound && sound.name !== "audio" ? `-${sound.name}` : "");
  /** @param {string} url @param {string} name @param {string} label */
  const link = (url, name, label) => html`
    <li><a href=${address(url)} download=${name} onClick=${(/** @type {MouseEvent} */ event) => fetchAs(event, url, name)}>${label}</a></li>`;
  /** @param {Output} file @param {string} label */
  const plain = (file, label) => link(`${file.url}?disposition=inline`, `${stemOf(run)}-${label}${file.file_name.slice(file.file_name.lastIndexOf("."))}`, label);
  const params = async () => {
    const blob = upstreamOf(run.inputs ? run : await get(`v1/runs/${run.id}`));
    if (blob) save(blob, `${stemOf(run)}_input_params.json`);
  };
  const all = () => {
    setBusy(true);
    saveAll(run).catch((error) => notice(error.message, { kind: "error" })).finally(() => setBusy(false));
  };
  return html`
    <section class="downloads" aria-labelledby="downloads-title">
      <h3 id="downloads-title">${t("listen.download")}</h3>
      <ul>
        ${sound && FORMATS.map((format) => link(`${sound.peaks}?disposition=inline&format=${format}`, `${stem}.${format}`, format.toUpperCase()))}
        ${files.map(([name, file]) => plain(/** @type {Output} */ (file), name))}
        ${recipe && !recipe.expired && plain(recipe, t("listen.recipe"))}
        ${upstreamOf(run) && html`<li><button onClick=${params}>${t("listen.upstream")}</button></li>`}
        <li><button disabled=${isBusy} onClick=${all}>${t(isBusy ? "listen.packing" : "listen.zip")}</button></li>
      </ul>
    </section>
  `;
}
