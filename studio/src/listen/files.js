/** Files of the server, and files for the person. */
import { address } from "../http.js";

/** @param {string} url @param {AbortSignal} [signal] */
export async function fetchFile(url, signal) {
  const answer = await fetch(address(url), { credentials: "same-origin", signal });
  if (answer.ok) return answer.blob();
  const content = await answer.json().catch(() => null);
  throw new Error(content?.error?.message ?? `${answer.status} ${answer.statusText}`);
}

/** @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
