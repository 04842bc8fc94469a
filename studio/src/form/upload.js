/** Uploads: sent once with their progress, kept by the server, listed for reuse. */
import { signal } from "@preact/signals";
import { address } from "../http.js";
import { t } from "../words.js";
import { uploads } from "./origin.js";

/** @typedef {{name: string, share: number}} Sending  share: how much of it is sent, 0 to 1 */

/** The upload in hand. @type {Signal<Sending | null>} */
export const sending = signal(null);

/**
 * Send an audio file. Fetch cannot say how far it is, so this is an XMLHttpRequest.
 *
 * @param {File} file
 * @returns {Promise<Upload>}
 */
export function upload(file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(`v1/assets?file_name=${encodeURIComponent(file.name)}`));
    request.upload.onprogress = ({ loaded, total }) =>
      (sending.value = { name: file.name, share: total ? loaded / total : 0 });
    request.onloadend = () => {
      sending.value = null;
      const answer = readAnswer(request.responseText);
      if (!answer?.id)
        return reject(new Error(answer?.error?.message ?? t("form.upload.broken", { name: file.name })));
      uploads.value = [answer, ...uploads.value.filter((each) => each.id !== answer.id)];
      resolve(answer);
    };
    sending.value = { name: file.name, share: 0 };
    request.send(file);
  });
}

/** A proxy's refusal is no JSON. @param {string} text */
function readAnswer(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Whether a recipe is probably inside a file: the statement that stands before it is not compressed.
 * @param {File} file */
export async function hasRecipe(file) {
  if (file.name.endsWith(".json")) return true;
  const edges = [file.slice(0, 1 << 17), file.slice(Math.max(0, file.size - (1 << 17)))];
  const texts = await Promise.all(edges.map((edge) => edge.text()));
  return texts.some((text) => text.includes("acestep_flows"));
}
