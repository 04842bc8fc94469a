/** Requests to the server's `/v1`, by addresses relative to the page, so that a proxy's prefix stays. */
import { signedOut, untilAgain } from "./window/connection.js";
import { t } from "./words.js";

/** Where the server is: the page lies in `studio/` below it. */
const ROOT = new URL("../", location.href.split(/[?#]/)[0]);

/** What the server refused, in its own words. */
export class ServerError extends Error {
  /**
   * @param {number} status  0 where the server was not reached
   * @param {Fault} fault
   * @param {number | null} retryAfter  seconds
   */
  constructor(status, fault, retryAfter = null) {
    super(fault.message);
    this.status = status;
    this.code = fault.code;
    this.field = fault.field ?? null;
    this.allowed = fault.allowed ?? null;
    this.problems = fault.problems ?? [];
    this.retryAfter = retryAfter;
  }
}

/** The whole address of a path: `v1/runs`, or `/v1/runs/ID` as the server writes it. @param {string} path */
export function address(path) {
  return new URL(path.startsWith(ROOT.pathname) ? path : path.replace(/^\//, ""), ROOT).href;
}

/**
 * @typedef {{headers?: Record<string, string>, signal?: AbortSignal, patient?: boolean}} Options
 *   patient: wait for a server that is not reached, and ask again. GET is patient unless told otherwise.
 */

/**
 * One request. A body that is no file is sent as JSON. Where the server says when to try again (429, 503),
 * that is done.
 *
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {Options} [options]
 * @returns {Promise<any>} the JSON of the answer; null where it has none
 */
export async function request(method, path, body, options = {}) {
  const { patient = method === "GET" } = options;
  for (;;) {
    try {
      return await ask(method, path, body, options);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      const again =
        error.status === 0 ? patient : error.retryAfter !== null && [429, 503].includes(error.status);
      if (!again || !(await untilAgain(error))) throw error;
    }
  }
}

/** @param {string} method @param {string} path @param {any} body @param {Options} options */
async function ask(method, path, body, options) {
  const isFile = body instanceof Blob || body instanceof FormData;
  const headers = {
    ...options.headers,
    ...(body !== undefined && !isFile && { "Content-Type": "application/json" }),
  };
  let answer;
  try {
    answer = await fetch(address(path), {
      method,
      headers,
      body: body === undefined || isFile ? body : JSON.stringify(body),
      signal: options.signal,
      credentials: "same-origin",
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ServerError(0, { code: "unreachable", message: t("window.unreachable") });
  }
  const content = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (answer.ok) return content;
  if (answer.status === 401) signedOut();
  const seconds = Number(answer.headers.get("Retry-After"));
  const fault = content?.error ?? { code: "unknown", message: `${answer.status} ${answer.statusText}` };
  throw new ServerError(answer.status, fault, seconds > 0 ? seconds : null);
}

/** @param {string} path @param {Options} [options] */
export const get = (path, options) => request("GET", path, undefined, options);
/** @param {string} path @param {any} [body] @param {Options} [options] */
export const post = (path, body, options) => request("POST", path, body, options);
