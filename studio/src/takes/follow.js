/**
 * Follows all runs in hand by the server's event stream, from where it was after sleep, a lost network or a
 * restart. Where a stream is refused, it asks instead.
 */
import { effect } from "@preact/signals";
import { address, get } from "../http.js";
import { chosen } from "../address.js";
import { isThere, keyWanted, lost, sleep, untilReached } from "../window/connection.js";
import { inHand, keep, loadPage, loadTake, missing, older, parentId, takes, working } from "./store.js";

const TYPES = [
  ...["accepted", "queued", "started", "continued", "progress", "preview", "cached", "finished", "skipped"],
  ...["succeeded", "failed", "cancelled", "warning"],
];
/** Streams that may break before their first event; then the server is asked instead. */
const PATIENCE = 3;
/** Seconds of asking until a stream is tried again. */
const ASKING = 60;
/** Seconds without an event after which runs in hand are asked for: a stream may die unheard. */
const SILENCE = 30;
/** Seconds after which the first page is asked for without a stream. */
const LATE = 3;

/** Number of the last event, and when it came. */
let last = 0;
let heardAt = 0;

/** Follow for as long as the page is open. The takes are asked for once the stream is there, so that nothing
 * happens unseen in between. */
export async function follow() {
  setTimeout(() => older.value === undefined && catchUp(), LATE * 1000);
  setInterval(() => {
    if (working.value.length && Date.now() - heardAt > SILENCE * 1000) catchUp();
  }, SILENCE * 1000);
  for (let broken = 0; ; ) {
    if (keyWanted.value) return;
    broken = (await stream()) ? 0 : broken + 1;
    if (keyWanted.value) return;
    await ((await isThere()) ? sleep(0.5) : untilReached());
    if (broken >= PATIENCE) await poll(ASKING);
    await catchUp();
  }
}

/** One stream until it breaks. @returns {Promise<boolean>} whether it brought anything */
function stream() {
  return new Promise((resolve) => {
    const source = new EventSource(address(`v1/events${last ? `?after=${last}` : ""}`));
    let opened = false;
    const end = () => {
      source.close();
      removeEventListener("online", end);
      document.removeEventListener("visibilitychange", wake);
      resolve(opened);
    };
    const slept = { since: 0 };
    const wake = () => {
      if (document.hidden) slept.since = Date.now();
      else if (Date.now() - slept.since > 60_000) end();
    };
    source.addEventListener("ready", (event) => {
      opened = true;
      lost.value = false;
      last = Math.max(last, Number(event.lastEventId));
      catchUp();
    });
    for (const type of TYPES) source.addEventListener(type, (event) => hear(JSON.parse(event.data)));
    source.onerror = end;
    addEventListener("online", end);
    document.addEventListener("visibilitychange", wake);
  });
}

/** Load what the stream did not tell: runs in hand, and those that are newer than the newest. */
async function catchUp() {
  await loadPage().catch(() => null);
  await Promise.all(working.value.map((run) => loadTake(run.id).catch(() => null)));
}

/** @type {Map<string, RunEvent[]>} */
const heard = new Map();

/** Note an event. Those of one frame are told together. @param {RunEvent} event */
function hear(event) {
  last = Math.max(last, event.number);
  heardAt = Date.now();
  if (!heard.size) setTimeout(tell, 60);
  heard.set(event.run, [...(heard.get(event.run) ?? []), event]);
}

function tell() {
  const changed = [];
  for (const [id, events] of heard) {
    const run = takes.value.get(id);
    if (run?.nodes?.length) changed.push(events.reduce(after, run));
    if (!run?.nodes?.length || events.some((event) => !event.node)) loadTake(id).catch(() => null);
  }
  heard.clear();
  if (changed.length) keep(changed);
}

/** A run after an event of one of its nodes.
 * @param {Run} run @param {RunEvent} event */
function after(run, event) {
  if (!event.node || !inHand(run)) return run;
  const nodes = run.nodes?.map((node) => (node.id === event.node ? nodeAfter(node, event, run.id) : node));
  return { ...run, nodes, progress: Math.max(run.progress, event.progress ?? 0) };
}

/** @param {RunNode} node @param {RunEvent} event @param {string} run */
function nodeAfter(node, event, run) {
  const { step = node.step, steps = node.steps, seconds = node.seconds } = event;
  if (event.type !== "preview") return { ...node, state: event.type, step, steps, seconds };
  const url = `/v1/runs/${run}/previews/${encodeURIComponent(event.node)}`;
  return { ...node, preview: { url, step: step ?? 0, steps: steps ?? 0, seconds: seconds ?? 0 } };
}

/** Ask for the runs in hand, for a time. @param {number} seconds */
async function poll(seconds) {
  const until = Date.now() + seconds * 1000;
  while (Date.now() < until && !keyWanted.value) {
    const [first] = working.value;
    if (first) await get(`v1/runs/${first.id}?wait=30`).then((run) => keep([run]), () => null);
    await sleep(2);
    await catchUp();
  }
}

/** A take that is chosen is loaded whole, and the one that it was made from. */
effect(() => {
  const id = chosen.value;
  missing.value = null;
  if (id) load(id).catch((error) => id === chosen.peek() && (missing.value = error.message));
});

/** @param {string} id */
async function load(id) {
  const parent = parentId(await loadTake(id));
  if (parent && !takes.peek().has(parent)) await loadTake(parent).catch(() => null);
}
