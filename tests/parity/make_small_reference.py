"""Make `small_reference/` from the full reference: `python -m tests.parity.make_small_reference --reference DIR`.

    1. run the parity tests over the full reference; what does not meet it may record nothing
    2. copy a part of its cases, with the original's numbers, and the tensors of the checkpoint that they depend on
    3. run the parity tests over the copy, and record the outputs of `RECORDED`

The small reference's README says what is in it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from acestep_flows.model.checkpoint import CONFIG, PARTS, weights_file
from acestep_flows.model.layout import TRANSFORMER, VOCODER
from tests.parity import reference as reference_module
from tests.parity.reference import SMALL, Case, Reference
from tests.parity.small_checkpoint import DIGEST, WEIGHTS, digest_of, drawn

SHIPPED: dict[str, tuple[str, ...]] = {
    TRANSFORMER: (
        "lyric_encoder.", "lyric_proj.", "genre_embedder.", "speaker_embedder.", "timestep_embedder.", "t_block.",
        "transformer_blocks.0.", "final_layer.",
    ),
    VOCODER: ("backbone.",),
}  # fmt: skip
"""Beginnings of the names of the checkpoint's tensors that are shipped, by part."""
LYRIC_ROWS = "lyric_embs.weight"
"""A table of which only the rows in use are shipped."""

SCHEDULERS = tuple(
    f"{solver}_{table}"
    for solver in ("euler", "heun", "pingpong")
    for table in ("training_table", "timesteps_10", "timesteps_27", "timesteps_60", "sigma_max_0.3_steps_60",
                  "sigma_max_0.7_steps_12", "sigma_max_0.9_steps_60", "steps_b1_omega10.0")
)  # fmt: skip
PICKED_STEPS = ("euler_oss_16_29_96_129_158_172_183_189_200", "euler_oss_2_5_8_10", "pingpong_oss_2_5_8_10")
DECODE = (
    "embedded_timestep", "temb", "block0_self_attn", "block0_cross_attn", "block0_ff", "after_block_0", "sample",
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A case of the full reference that goes into the small one.

    Attributes:
        outputs: those that are compared; empty: all.
        given: outputs of the full reference that become inputs, as the layers before them are not shipped.
        recorded: whether the outputs are recorded from this implementation.
        params: changes to the case's parameters; of an original case only to leave outputs out.
        frames: length that latents and noise are cut to; only of a recorded case.
        layers: beginnings of the names of the adapter's layers that are kept; only of a recorded case.
    """

    file: str
    name: str
    outputs: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    recorded: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    frames: int | None = None
    layers: tuple[str, ...] = ()


def originals(file: str, names: Iterable[str], **settings: Any) -> list[Choice]:
    return [Choice(f"{file}.safetensors", name, **settings) for name in names]


def recorded(file: str, names: Iterable[str], **settings: Any) -> list[Choice]:
    return originals(file, names, recorded=True, **settings)


ORIGINAL = [
    *originals("guidance", ("apg_momentum_b1_scale15.0", "apg_no_momentum", "cfg", "cfg_star_no_zero_init",
                            "double_condition")),
    *originals("schedulers", SCHEDULERS + PICKED_STEPS),
    *originals("seeded", ("seeds_0", "seeds_7")),
    *originals("lyric_encoder", ("single", "single_erg", "instrumental_all_masked"),
               outputs=("after_block_0", "encoder_out", "projected")),
    *originals("transformer", ("encode_b1", "encode_b2_padded", "encode_b1_erg_null", "encode_instrumental")),
    *originals("transformer", ("decode_b1_w33_t8.93", "decode_b1_w1_t700.0"), outputs=DECODE,
               given=("after_proj_in", "before_final_layer")),
    *originals("dcae", ("encode_mono_48k",), outputs=("resampled_head", "resampled_length", "log_mel",
                                                      "latent_lengths")),
    *originals("dcae", ("decode_w12",), outputs=("vocoder_backbone_ch0",), given=("log_mel",),
               params={"out_sample_rates": []}),
    *originals("training", ("lr_schedule", "timestep_sampling_seeded")),
]  # fmt: skip
RECORDED = [
    *recorded("text_encoder", ("prompt_0", "prompt_0_null_tau0.01"), outputs=("last_hidden_state",)),
    *recorded("transformer", ("decode_b1_w33_t8.93", "decode_b1_erg_tau0.01"), outputs=("sample",)),
    *recorded("trajectories", ("t2m_euler_apg_default", "t2m_heun_cfg_star", "retake_0.2", "repaint_middle",
                               "extend_right_var0.6", "edit_remix", "audio2audio_0.3")),
    *recorded("dcae", ("encode_mono_48k",), outputs=("latents",)),
    *recorded("dcae", ("decode_w12",), outputs=("log_mel",), params={"out_sample_rates": []}, frames=2),
    *recorded("dcae", ("decode_overlap_w40",)),
    *recorded("end_to_end", ("t2m_1.6s",), params={"audio_duration": 0.2}, frames=2),
    *recorded("lora", ("training_time_adapter",),
              layers=("lyric_encoder.encoders.0.", "transformer_blocks.0.", "transformer_blocks.19.")),
    *recorded("training", ("b1_ssl_coeff0.3",),
              outputs=("loss", "denoising_loss", "mert_loss", "m-hubert_loss", "grad_norm",
                       "grad.transformer_blocks.0.attn.to_q.weight", "grad.transformer_blocks.0.scale_shift_table",
                       "grad.lyric_encoder.encoders.0.self_attn.linear_q.weight", "grad.projectors.0.4.bias")),
]  # fmt: skip


class Copy:
    """The small reference while it is written."""

    def __init__(self, full: Reference, root: Path) -> None:
        self.full, self.root = full, root
        self.entries: list[dict[str, Any]] = []
        self.tensors: dict[str, dict[str, Tensor]] = {}
        self._full_entries = {(entry["file"], entry["name"]): entry for entry in full.index["cases"]}

    def add(self, choice: Choice) -> None:
        full_entry = self._full_entries[choice.file, choice.name]
        entry = {
            key: full_entry[key] for key in ("name", "file", "params", "tolerance", "notes") if full_entry.get(key)
        }
        entry["params"] = {**full_entry["params"], **choice.params}
        names = choice.outputs or [name for name in full_entry["outputs"] if name not in choice.given]
        inputs = {**full_entry["inputs"], **{name: full_entry["outputs"][name] for name in choice.given}}
        entry["inputs"] = {name: self._input(choice, name, spec["key"]) for name, spec in inputs.items()}
        if "log_mel" in choice.given:  # the vocoder treats channels alike
            mels = self.tensors[choice.file]
            mels[inputs["log_mel"]["key"]] = mels[inputs["log_mel"]["key"]][:, :1].contiguous()
        if choice.recorded:
            entry |= {"name": f"recorded_{choice.name}", "recorded": True}
            entry["outputs"] = {name: {"key": f"recorded_{choice.name}/output/{name}"} for name in names}
        else:
            outputs = {name: full_entry["outputs"][name]["key"] for name in names}
            entry["outputs"] = {name: self._tensor(choice.file, key) for name, key in outputs.items()}
        if full_entry.get("lora_file"):
            entry["lora_file"] = full_entry["lora_file"]
            self._copy_adapter(entry, choice.layers)
        if "file" in entry["params"]:
            self._copy(self.full.goldens / entry["params"]["file"], Path("goldens") / entry["params"]["file"])
        self.entries.append(entry)

    def _input(self, choice: Choice, name: str, key: str) -> dict[str, str]:
        if choice.frames is None or name not in ("latents", "noise"):
            return self._tensor(choice.file, key)
        tensor = self._read(choice.file, key)
        if name == "noise":  # follows from the seeds, so it cannot be cut
            from tests.parity.sampled import seeded_noise

            seeds = self._full_entries[choice.file, choice.name]["params"]["actual_seeds"]
            tensor = seeded_noise(seeds, choice.frames)
        key = f"recorded_{choice.name}/input/{name}"
        self.tensors.setdefault(choice.file, {})[key] = tensor[..., : choice.frames].contiguous()
        return {"key": key}

    def _tensor(self, file: str, key: str) -> dict[str, str]:
        self.tensors.setdefault(file, {})[key] = self._read(file, key)
        return {"key": key}

    def _read(self, file: str, key: str) -> Tensor:
        with safe_open(self.full.goldens / file, framework="pt") as tensors:
            tensor: Tensor = tensors.get_tensor(key)
        return tensor

    def _copy(self, source: Path, target: Path) -> None:
        (self.root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, self.root / target)

    def _copy_adapter(self, entry: dict[str, Any], layers: tuple[str, ...]) -> None:
        source, target = self.full.goldens / entry["lora_file"], self.root / "goldens" / entry["lora_file"]
        with safe_open(source, framework="pt") as adapter:
            names = [name for name in adapter.keys() if any(layer in name for layer in layers)]  # noqa: SIM118
            kept, metadata = {name: adapter.get_tensor(name) for name in names}, adapter.metadata()
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(kept, target, metadata)

    def write(self) -> None:
        """Everything but the recorded outputs."""
        for part in PARTS:
            for file in (self.full.checkpoint / part).iterdir():
                if file.name != weights_file(part):
                    self._copy(file, Path("checkpoint") / part / file.name)
        save_file(self._weights(), self.root / WEIGHTS)
        digest = digest_of({part: drawn(self.root / "checkpoint" / part / CONFIG) for part in PARTS})
        (self.root / DIGEST).write_text(f"{digest}\n")
        self._copy(self.full.goldens / self.full.index["tokenization_file"],
                   Path("goldens") / self.full.index["tokenization_file"])  # fmt: skip
        self.write_goldens({})

    def _weights(self) -> dict[str, Tensor]:
        shipped: dict[str, Tensor] = {}
        for part, beginnings in SHIPPED.items():
            tensors = load_file(self.full.checkpoint / part / weights_file(part))
            shipped |= {f"{part}/{name}": tensor for name, tensor in tensors.items() if name.startswith(beginnings)}
            if LYRIC_ROWS in tensors:
                rows = self._lyric_ids()
                shipped[f"{part}/{LYRIC_ROWS}@indices"] = rows
                shipped[f"{part}/{LYRIC_ROWS}@rows"] = tensors[LYRIC_ROWS][rows].contiguous()
        return shipped

    def _lyric_ids(self) -> Tensor:
        """Every lyric token id that a case of the original takes."""
        ids = [torch.tensor([0])]
        for entry in self.entries:
            if not entry.get("recorded"):
                specs = [spec for name, spec in entry["inputs"].items() if name == "lyric_token_idx"]
                ids += [self.tensors[entry["file"]][spec["key"]].flatten() for spec in specs]
        unique: Tensor = torch.cat(ids).unique()
        return unique

    def write_goldens(self, outputs: Mapping[tuple[str, str], Tensor]) -> None:
        for (file, key), tensor in outputs.items():
            self.tensors.setdefault(file, {})[key] = tensor.contiguous()
        folder = self.root / "goldens"
        folder.mkdir(parents=True, exist_ok=True)
        for file, tensors in self.tensors.items():
            save_file(tensors, folder / file)
        keys = ("format", "upstream", "generated_with", "tokenization_file")
        index = {key: self.full.index[key] for key in keys}
        index |= {"checkpoint": "checkpoint", "cases": self.entries}
        (folder / "index.json").write_text(json.dumps(index, ensure_ascii=False) + "\n", encoding="utf-8")


class Recorder:
    """Keeps what the parity tests compute for recorded cases, in place of comparing it."""

    def __init__(self) -> None:
        self.outputs: dict[tuple[str, str], Tensor] = {}

    def record(self, case: Case, output: str, got: Tensor) -> None:
        case.settled.add(output)
        self.outputs[case.file, f"{case.name}/output/{output}"] = got.detach().clone()

    def install(self) -> None:
        for method in ("assert_close", "assert_equal"):
            compare = getattr(Case, method)

            def either(case: Case, output: str, got: Tensor, compare: Any = compare) -> None:
                self.record(case, output, got) if case.recorded else compare(case, output, got)

            setattr(Case, method, either)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="the full reference")
    parser.add_argument("--unchecked", action="store_true", help="leave out step 1; for a trial only")
    asked = parser.parse_args()
    tests = [str(Path(__file__).parent), "-q", "-p", "no:cacheprovider"]
    if not asked.unchecked and pytest.main([*tests, "--reference", str(asked.reference), "-k", "full"]):
        sys.exit("this implementation does not meet the full reference; nothing is recorded")

    readme = (SMALL / "README.md").read_text("utf-8") if (SMALL / "README.md").is_file() else ""
    shutil.rmtree(SMALL, ignore_errors=True)
    copy = Copy(Reference(asked.reference), SMALL)
    for choice in [*ORIGINAL, *RECORDED]:
        copy.add(choice)
    copy.write()
    (SMALL / "README.md").write_text(readme, "utf-8")

    recorder = Recorder()
    recorder.install()
    assert reference_module.Case is Case
    code = pytest.main([*tests, "--reference", "nowhere", "-k", "recorded"])
    copy.write_goldens(recorder.outputs)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
