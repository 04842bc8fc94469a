/** A take as v1's `*_input_params.json`, with its names and units. Graphs that v1 does not have give none. */

import { inFrames } from "../span.js";

/** @type {Record<string, string>} */
const TASKS = {
  text2music: "text2music",
  retake: "retake",
  repaint: "repaint",
  "variation-in-span": "repaint",
  extend: "extend",
  edit: "edit",
  "edit-lyrics": "edit",
  remix: "edit",
  audio2audio: "text2music",
};

/** v1's name of each sampling option. */
const SAMPLING = {
  infer_step: "steps",
  guidance_scale: "guidance_scale",
  scheduler_type: "solver",
  cfg_type: "guidance",
  omega_scale: "omega",
  guidance_interval: "guidance_interval",
  guidance_interval_decay: "guidance_decay",
  min_guidance_scale: "guidance_minimum",
  use_erg_tag: "erg_tag",
  use_erg_lyric: "erg_lyric",
  use_erg_diffusion: "erg_diffusion",
  guidance_scale_text: "guidance_scale_text",
  guidance_scale_lyric: "guidance_scale_lyric",
};

/**
 * @param {Run} run
 * @param {{seconds: number, sampling: Record<string, any>, file: string, source: string | null}} about
 *   length of the take, the model's own options, the file's name, and that of the source
 * @returns {Record<string, any> | null}
 */
export function asUpstream(run, { seconds, sampling, file, source }) {
  const task = TASKS[run.graph];
  const inputs = run.inputs;
  if (!task || !inputs) return null;
  const [left, right] = [inputs.left ?? 0, inputs.right ?? 0].map(inFrames);
  const before = task === "extend" ? seconds - left - right : seconds;
  const valueOf = (/** @type {string} */ ours) => inputs[ours] ?? sampling[ours] ?? null;
  const options = Object.entries(SAMPLING).map(([name, ours]) => [name, valueOf(ours)]);
  const tags = inputs.new_tags ?? inputs.tags;
  const lyrics = inputs.new_lyrics ?? inputs.lyrics;
  const isEdit = task === "edit";
  return {
    format: run.format,
    lora_name_or_path: inputs.adapter ?? "none",
    lora_weight: inputs.adapter_weight ?? 1,
    task,
    prompt: tags,
    lyrics,
    audio_duration: inputs.duration ?? before,
    ...Object.fromEntries(options),
    oss_steps: inputs.oss_steps ?? [],
    actual_seeds: [inputs.seed],
    retake_seeds: [isEdit ? inputs.seed : (inputs.retake_seed ?? inputs.seed)],
    retake_variance: task === "extend" ? 1 : (inputs.variance ?? 0.5),
    repaint_start: task === "extend" ? -left : (inputs.span?.start ?? 0),
    // v1 takes what is added before away from what is added after
    repaint_end: task === "extend" ? before + right + (right ? left : 0) : (inputs.span?.end ?? 0),
    edit_n_min: inputs.minimum ?? 0,
    edit_n_max: inputs.maximum ?? 1,
    edit_n_avg: inputs.averages ?? 1,
    src_audio_path: inputs.source ? source : null,
    edit_target_prompt: isEdit ? tags : null,
    edit_target_lyrics: isEdit ? lyrics : null,
    audio2audio_enable: run.graph === "audio2audio",
    ref_audio_strength: inputs.strength ?? 0.5,
    ref_audio_input: inputs.reference ? source : null,
    audio_path: file,
  };
}
