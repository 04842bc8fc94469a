/** What of a take can be heard, and its waveform. */
import { address, get } from "../http.js";
import { titleOf } from "../takes/facts.js";
import { t } from "../words.js";

/** @typedef {import("../types.js").Run} Run */
/**
 * @typedef {{run: string, name: string, url: string, peaks: string | Blob, title: string}} Sound  `peaks`: the
 * output that the server draws, or the sound itself
 */
/** @typedef {{seconds: number, top: Float32Array, bottom: Float32Array, level: number}} Peaks  `level`: RMS in dB */

/** A take's name among others of the same title. @param {Run} run */
export const fullNameOf = (run) => `${titleOf(run)} · ${run.graph}`;

/** The audio outputs of a take, the song first. @param {Run} run @returns {Sound[]} */
export function soundsOf(run) {
  return Object.entries(run.outputs).flatMap(([name, output]) => {
    if (Array.isArray(output) || output.kind !== "audio" || output.expired) return [];
    return [{ run: run.id, name, url: address(`${output.url}?disposition=inline`), peaks: output.url, title: titleOf(run) }];
  });
}

/** Whether a take had audio that the server has removed. @param {Run} run */
export const isExpired = (run) => Object.values(run.outputs).flat().some((each) => each.kind === "audio" && each.expired);

const MOST_KEPT = 40;
/** @type {Map<string, Promise<Peaks>>} */
const known = new Map();

/** The waveform of a sound. @param {Sound} sound @returns {Promise<Peaks>} */
export function peaksOf(sound) {
  const found = known.get(sound.url);
  if (found) return found;
  const made = typeof sound.peaks === "string" ? read(sound.peaks) : decode(sound.peaks);
  known.set(sound.url, made);
  made.catch(() => known.delete(sound.url));
  if (known.size > MOST_KEPT) known.delete(/** @type {string} */ (known.keys().next().value));
  return made;
}

/** @param {string} url */
async function read(url) {
  const { peaks, seconds } = await get(`${url}/peaks?per_second=100`);
  const size = peaks.length / 2;
  const top = Float32Array.from({ length: size }, (_, i) => Math.max(0, peaks[2 * i + 1]) / 127);
  const bottom = Float32Array.from({ length: size }, (_, i) => Math.max(0, -peaks[2 * i]) / 127);
  return { seconds, top, bottom, level: levelOf(top, bottom) };
}

/** The server has no peaks of previews: the page decodes them itself. @param {Blob} file */
async function decode(file) {
  const audio = await new OfflineAudioContext(1, 1, 8000).decodeAudioData(await file.arrayBuffer());
  const samples = audio.getChannelData(0);
  const width = audio.sampleRate / 100;
  const size = Math.ceil(samples.length / width);
  const [top, bottom] = [new Float32Array(size), new Float32Array(size)];
  samples.forEach((sample, i) => {
    const side = sample < 0 ? bottom : top;
    const at = Math.floor(i / width);
    side[at] = Math.max(side[at], Math.abs(sample));
  });
  return { seconds: audio.duration, top, bottom, level: levelOf(top, bottom) };
}

/** A level from peaks, silence left out. Near enough to turn the louder of two versions down. @param {Float32Array} top @param {Float32Array} bottom */
function levelOf(top, bottom) {
  const squares = Array.from(top, (high, i) => ((high + bottom[i]) / 2) ** 2).filter((square) => square > 1e-4);
  return squares.length ? 10 * Math.log10(squares.reduce((sum, square) => sum + square, 0) / squares.length) : -100;
}

/** Seconds as 1:02.3. @param {number} seconds */
export function clock(seconds) {
  const tenths = Math.max(0, Math.floor(seconds * 10 + 1e-6));
  return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
}

/** An output's name for people: `audio.02` is the second take. @param {string} name */
export function nameOf(name) {
  const [kind, count] = name.split(".");
  return count ? `${t(`listen.sound.${kind}`)} ${Number(count)}` : t(`listen.sound.${kind}`);
}
