/** What of a take can be heard, and its waveform. */
import { address, get } from "../http.js";
import { titleOf } from "../takes/facts.js";
import { t } from "../words.js";

/** `peaks` is the output that the server draws, or the sound itself.
 * @typedef {{run: string, name: string, url: string, peaks: string | Blob, title: string,
 *   asset: string}} Sound */
/** `level` is the RMS in dB.
 * @typedef {{seconds: number, top: Float32Array, bottom: Float32Array, level: number}} Peaks */

/** A take's name among others of the same title. @param {Run} run */
export const fullNameOf = (run) => `${titleOf(run)} · ${run.graph}`;

/** The audio outputs of a take, the song first. @param {Run} run @returns {Sound[]} */
export function soundsOf(run) {
  const title = titleOf(run);
  return Object.entries(run.outputs).flatMap(([name, output]) => {
    if (Array.isArray(output) || output.kind !== "audio" || output.expired) return [];
    const url = address(`${output.url}?disposition=inline`);
    return [{ run: run.id, name, url, peaks: output.url, title, asset: output.asset }];
  });
}

/** Whether a take had audio that the server has removed. @param {Run} run */
export function isExpired(run) {
  const files = Object.values(run.outputs).flat();
  return files.some((each) => each.kind === "audio" && each.expired);
}

const MOST_KEPT = 40;
/** @type {Map<string, Promise<Peaks>>} */
const known = new Map();

/** The waveform of a sound. That of a preview, which comes but once, takes no place of another's.
 * @param {Sound} sound @returns {Promise<Peaks>} */
export function peaksOf(sound) {
  if (typeof sound.peaks !== "string") return decode(sound.peaks);
  const found = known.get(sound.url);
  if (found) return found;
  const made = read(sound.peaks);
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

/** A level from peaks, silence left out. Near enough to turn the louder of two versions down.
 * @param {Float32Array} top @param {Float32Array} bottom */
function levelOf(top, bottom) {
  const all = Array.from(top, (high, i) => ((high + bottom[i]) / 2) ** 2);
  const loud = all.filter((square) => square > 1e-4);
  const mean = loud.reduce((sum, square) => sum + square, 0) / loud.length;
  return loud.length ? 10 * Math.log10(mean) : -100;
}

/** An output's name for people: `audio.02` is the second take. @param {string} name */
export function nameOf(name) {
  const [kind, count] = name.split(".");
  return count ? `${t(`listen.sound.${kind}`)} ${Number(count)}` : t(`listen.sound.${kind}`);
}
