/** Submitting a run: once, whatever the network does. */
import { post } from "../http.js";
import { go } from "../address.js";
import { keep } from "./store.js";

/**
 * @typedef {{format?: string, preview_every?: number | null, labels?: Record<string, string>}} RunOptions
 */

/**
 * Submit a run, put it into the store, and choose it. A server that is away is waited for: the key of the request makes
 * one run of it, however often it is sent.
 *
 * @param {string} graph
 * @param {import("../types.js").Inputs} inputs
 * @param {RunOptions} [options]
 * @returns {Promise<import("../types.js").Run>}
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
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
