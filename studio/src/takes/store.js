/** The takes: runs of the server, by id. Nothing of them lives in the browser. */
import { computed, signal } from "@preact/signals";
import { get, post, request, ServerError } from "../http.js";
import { chosen, go } from "../address.js";

/** @type {Signal<Map<string, Run>>} newest first */
export const takes = signal(new Map());

/** Where the next page of older takes begins; null at the end, undefined before the first page has come.
 * @type {Signal<string | null | undefined>} */
export const older = signal(undefined);

/** Why the chosen take cannot be shown. @type {Signal<string | null>} */
export const missing = signal(null);

/** The chosen take, if it is loaded. */
export const take = computed(() => (chosen.value && takes.value.get(chosen.value)) || null);

/** Takes that wait or are made. */
export const working = computed(() => [...takes.value.values()].filter(inHand));

const PAGE = 50;

/** Whether a run goes on. @param {Run} run */
export const inHand = (run) => run.state === "queued" || run.state === "running";

/** Put runs into the store. @param {Run[]} runs */
export function keep(runs) {
  const all = new Map(takes.value);
  let isOrdered = true;
  for (const run of runs) {
    isOrdered &&= all.has(run.id);
    all.set(run.id, { ...all.get(run.id), ...run });
  }
  takes.value = isOrdered ? all : new Map([...all].sort(([a], [b]) => (a < b ? 1 : -1)));
}

/** Take a run out of the store. @param {string} id */
function drop(id) {
  const all = new Map(takes.value);
  all.delete(id);
  takes.value = all;
}

/** @type {Promise<void> | null} */
let loading = null;

/** Load the newest page, or the one after `older`. @param {string | null} [after] */
export function loadPage(after = null) {
  if (after === null) return readPage(null);
  loading ??= readPage(after).finally(() => (loading = null));
  return loading;
}

/** @param {string | null} after */
async function readPage(after) {
  const page = await get(
    `v1/runs?inputs=true&limit=${PAGE}${after ? `&after=${encodeURIComponent(after)}` : ""}`,
  );
  const knowsMore =
    after === null &&
    older.value !== undefined &&
    page.runs.some((/** @type {Run} */ run) => takes.value.has(run.id));
  keep(page.runs);
  if (!knowsMore) older.value = page.next;
}

/** Load one run whole, with its nodes. @param {string} id @returns {Promise<Run>} */
export async function loadTake(id) {
  try {
    const run = await get(`v1/runs/${encodeURIComponent(id)}`);
    keep([run]);
    return run;
  } catch (error) {
    if (error instanceof ServerError && error.status === 404) drop(id);
    throw error;
  }
}

/** Change a take's labels; null removes one.
 * @param {string} id @param {Record<string, string | null>} labels */
export async function relabel(id, labels) {
  keep([await request("PATCH", `v1/runs/${encodeURIComponent(id)}`, { labels })]);
}

/** Stop a run at its next step. @param {string} id */
export async function cancel(id) {
  keep([await request("DELETE", `v1/runs/${encodeURIComponent(id)}`)]);
}

/** Delete a take that has ended, with its files. @param {string} id */
export async function forget(id) {
  await request("DELETE", `v1/runs/${encodeURIComponent(id)}?forget=true`);
  drop(id);
}

/** The output of a take by name; its first one if there are several. @param {Run} run @param {string} name */
export function output(run, name) {
  const found = run.outputs[name];
  return (Array.isArray(found) ? found[0] : found) ?? null;
}

/** Id of the take that this one was made from, which is older; a label may say anything. @param {Run} run */
export const parentId = ({ id, labels }) => (labels.parent && labels.parent < id ? labels.parent : "");

/** The take that this one was made from, if it is loaded. @param {Run} run */
export const parentOf = (run) => takes.value.get(parentId(run)) ?? null;

/**
 * @typedef {{format?: string, preview_every?: number | null, labels?: Record<string, string>}} RunOptions
 */

/**
 * Submit a run, put it into the store, and choose it. A server that is away is waited for: the key of the
 * request makes
 * one run of it, however often it is sent.
 *
 * @param {string} graph
 * @param {Inputs} inputs
 * @param {RunOptions} [options]
 * @returns {Promise<Run>}
 */
export async function submit(graph, inputs, options = {}) {
  const headers = { "Idempotency-Key": newKey() };
  const run = await post("v1/runs", { graph, inputs, ...options }, { headers, patient: true });
  keep([run]);
  go({ take: run.id });
  return run;
}

/** Pages that came over plain HTTP from elsewhere have no `randomUUID`. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
