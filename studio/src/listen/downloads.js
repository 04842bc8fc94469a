/**
 * A take as files: the sound in four formats, latents, report, recipe, v1's parameters, and all of them at
 * once.
 */
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { address, get } from "../http.js";
import { catalog } from "../model.js";
import { titleOf } from "../takes/facts.js";
import { output, parentOf } from "../takes/store.js";
import { failed } from "../window/notice.js";
import { t } from "../words.js";
import { fetchFile, save } from "./files.js";
import { duration, shown } from "./player.js";
import { soundsOf } from "./sounds.js";
import { asUpstream } from "./upstream.js";
import { zip } from "./zip.js";

const FORMATS = ["wav", "flac", "mp3", "ogg"];
const UNSAFE = /[\\/:*?"<>|\u0000-\u001f]+/g;

/** A file's name without its ending. @param {Run} run */
function stemOf(run) {
  const name = titleOf(run).replace(UNSAFE, "-").replace(/^[.\s]+/, "").slice(0, 80);
  return run.labels.title ? name : `${name} ${run.id.slice(-6)}`;
}

/** @param {Output} file */
const endingOf = ({ file_name: name }) => name.slice(name.lastIndexOf("."));

/** The outputs of a take that are one file each and still there. @param {Run} run */
const filesOf = (run) =>
  /** @type {[string, Output][]} */ (
    Object.entries(run.outputs).filter(([, file]) => !Array.isArray(file) && !file.expired)
  );

/** @param {Run} run @returns {Blob | null} */
function upstreamOf(run) {
  const parent = parentOf(run);
  const about = {
    seconds: duration.value,
    sampling: catalog.value.model.sampling,
    file: `${stemOf(run)}.${run.format}`,
    source: parent && `${stemOf(parent)}.${parent.format}`,
  };
  const content = asUpstream(run, about);
  return content && new Blob([JSON.stringify(content, null, 4)], { type: "application/json" });
}

/** Every file of a take under a folder of its title. @param {Run} run */
async function saveAll(run) {
  const stem = stemOf(run);
  const fetched = filesOf(run).map(async ([name, file]) => {
    const path = `${stem}/${name === "audio" ? stem : name}${endingOf(file)}`;
    return { name: path, content: await fetchFile(file.url) };
  });
  const files = await Promise.all(fetched);
  const params = upstreamOf(run);
  if (params) files.push({ name: `${stem}/${stem}_input_params.json`, content: params });
  save(await zip(files, new Date(run.created_at)), `${stem}.zip`);
}

/** A file under the take's title, which is a better name than the server's, which a link would take.
 * @param {{url: string, name: string, children: any}} props */
function Link({ url, name, children }) {
  /** @param {MouseEvent} event */
  const fetchAs = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    fetchFile(url).then((blob) => save(blob, name), failed);
  };
  const link = { href: address(url), download: name, onClick: fetchAs };
  return html`<li><a class="small" ...${link}>${children}</a></li>`;
}

/** @param {{run: Run}} props */
export function Downloads({ run }) {
  const [isBusy, setBusy] = useState(false);
  const sounds = soundsOf(run);
  const sound = sounds.find((each) => each.name === shown.value?.name) ?? sounds[0];
  const recipe = output(run, "recipe");
  if (!Object.keys(run.outputs).length) return null;
  const stem = stemOf(run);
  const others = filesOf(run).filter(([name, file]) => file.kind !== "audio" && name !== "recipe");
  if (recipe && !recipe.expired) others.push([t("listen.recipe"), recipe]);
  const params = async () => {
    const blob = upstreamOf(run.inputs ? run : await get(`v1/runs/${run.id}`));
    if (blob) save(blob, `${stem}_input_params.json`);
  };
  const all = () => {
    setBusy(true);
    saveAll(run).catch(failed).finally(() => setBusy(false));
  };
  const part = sound && sound.name !== "audio" ? `-${sound.name}` : "";
  return html`
    <section class="downloads" aria-labelledby="downloads-title">
      <h3 id="downloads-title">${t("listen.download")}</h3>
      <ul>
        ${sound && FORMATS.map((format) => {
          const url = `${sound.peaks}?disposition=inline&format=${format}`;
          return html`<${Link} url=${url} name=${`${stem}${part}.${format}`}>${format.toUpperCase()}<//>`;
        })}
        ${others.map(([name, file]) => {
          const url = `${file.url}?disposition=inline`;
          return html`<${Link} url=${url} name=${`${stem}-${name}${endingOf(file)}`}>${name}<//>`;
        })}
        ${upstreamOf(run) && html`<li><button class="small" onClick=${params}>${t("listen.upstream")}</button></li>`}
        <li>
          <button class="small" disabled=${isBusy} onClick=${all}>
            ${t(isBusy ? "listen.packing" : "listen.zip")}
          </button>
        </li>
      </ul>
    </section>
  `;
}
