"""Training the autoencoder and the spectral vocoder lowers their loss and writes parts of a checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acestep_flows.audio import write
from acestep_flows.errors import InputError
from acestep_flows.model.autoencoder import Autoencoder
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.layout import AUTOENCODER, VOCODER
from acestep_flows.model.placement import Placement
from acestep_flows.model.spectral_vocoder import SpectralVocoder
from acestep_flows.model.vocoder import load_vocoder
from acestep_flows.training.kinds import autoencoder, decoder
from acestep_flows.training.kinds.autoencoder import normalise_latents, scale_mel, unscale_mel
from acestep_flows.training.loop.curve import read
from acestep_flows.training.loop.loop import train
from acestep_flows.training.loop.recipe import TrainingRecipe, parse_recipe
from acestep_flows.training.nano.architecture import configs
from acestep_flows.values import Audio
from tests.model.small import small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with songs, and tiny configs of both parts."""
    root = tmp_path_factory.mktemp("audio-parts")
    rng = np.random.default_rng(0)
    time = np.arange(44100 * 4) / 44100
    tone = 0.2 * np.sin(2 * np.pi * 330 * time) * np.exp(-3 * (time % 0.5))
    sound = np.stack([tone, 0.5 * tone]) + 0.01 * rng.standard_normal((2, len(time)))
    (root / "songs").mkdir()
    write.audio(root / "songs" / "song.wav", Audio(sound.astype(np.float32), 44100))
    nano = configs(1, 1)
    sizes = {"block_out_channels": [8, 8, 16, 16], "layers_per_block": [0, 1, 1, 1]}
    small = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in sizes.items()}
    tiny: dict[str, dict[str, Any]] = {
        AUTOENCODER: small | {"attention_head_dim": 8},
        VOCODER: {"width": 16, "blocks": 1, "iterations": 8},
    }
    for part, change in tiny.items():
        (root / part).mkdir()
        (root / part / "config.json").write_text(json.dumps(nano[part] | change))
    return root


def recipe(folder: Path, kind: str, **changes: Any) -> TrainingRecipe:
    source = {"kind": "folder", "folder": str(folder / "songs"), "clips": 4, "held_out": 1, "seconds": 3.0}
    content: dict[str, Any] = {
        "kind": kind,
        "architecture": str(folder),
        "source": source | {"workers": 0, "cache": str(folder / "cache")},
        "loop": {"steps": 4, "learning_rate": 3e-3, "save_every": 2, "log_every": 1, "ahead": 0, "clip": 1.0},
    }
    if kind == "autoencoder":
        content |= {"crops": [16, 32], "frames_per_batch": 32}
    else:
        content |= {"frames": 16, "batch": 2}
    loop = content["loop"] | changes.pop("loop", {})
    return parse_recipe(content | changes | {"loop": loop}, "test")


def checkpoint_with(exported: Path, part: str, root: Path) -> Checkpoint:
    shutil.copytree(small_folder(), root)
    shutil.rmtree(root / part)
    shutil.copytree(exported / part, root / part)
    return Checkpoint.open(root)


def test_autoencoder_is_trained_and_exported(folder: Path, tmp_path: Path) -> None:
    parsed: Any = recipe(folder, "autoencoder", loop={"steps": 16, "preview_every": 8})
    outcome = train(autoencoder.build(parsed, "cpu"), parsed, tmp_path / "run")
    lines = [line for line in read(tmp_path / "run" / "curve.jsonl") if "loss" in line]
    assert outcome.finished
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    assert {"loss_mel", "loss_slopes", "loss_squares", "loss_latents"} <= lines[0].keys()
    assert (tmp_path / "run" / "previews" / "step-00000008" / "clip-0.png").stat().st_size > 1000
    loaded = Autoencoder.load(
        checkpoint_with(tmp_path / "run" / "export", AUTOENCODER, tmp_path / "model"), Placement()
    )
    latents = loaded.encode(np.random.default_rng(0).normal(0, 0.1, (2, 4096 * 4)).astype(np.float32))
    assert latents.shape == (8, 16, 4)
    assert loaded.decode(latents).shape == (2, 128, 32)


def test_a_resumed_autoencoder_equals_an_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    parsed: Any = recipe(folder, "autoencoder")
    train(autoencoder.build(parsed, "cpu"), parsed, tmp_path / "whole")
    train(autoencoder.build(parsed, "cpu"), parsed, tmp_path / "parts", minutes=0)
    (tmp_path / "parts" / "states" / "step-00000000.pt").unlink()
    shutil.copy(tmp_path / "whole" / "states" / "step-00000002.pt", tmp_path / "parts" / "states")
    train(autoencoder.build(parsed, "cpu"), parsed, tmp_path / "parts", resume=True)
    states = [torch.load(tmp_path / name / "states" / "step-00000004.pt") for name in ("whole", "parts")]
    assert all(torch.equal(states[0]["weights"][name], states[1]["weights"][name]) for name in states[0]["weights"])


def test_autoencoder_starts_from_given_weights(folder: Path, tmp_path: Path) -> None:
    parsed: Any = recipe(folder, "autoencoder", loop={"steps": 1})
    train(autoencoder.build(parsed, "cpu"), parsed, tmp_path / "run")
    start = tmp_path / "run" / "export" / AUTOENCODER
    task = autoencoder.build(recipe(folder, "autoencoder", start=str(start)), "cpu")  # type: ignore[arg-type]
    fresh = autoencoder.build(parsed, "cpu")
    exported = autoencoder.load_autoencoder(start, "cpu").state_dict()
    for name, tensor in task.modules()["autoencoder"].state_dict().items():
        assert torch.equal(tensor, exported[name])
    assert not torch.equal(
        fresh.modules()["autoencoder"].state_dict()["encoder.conv_out.bias"], exported["encoder.conv_out.bias"]
    )


def test_scales_are_the_published_ones() -> None:
    mel = torch.tensor([-11.0, -4.0, 3.0])
    assert torch.equal(scale_mel(mel), torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(unscale_mel(scale_mel(mel)), mel)
    torch.testing.assert_close(normalise_latents(torch.tensor(-1.9091 + 1 / 0.1786)), torch.tensor(1.0))


@pytest.mark.parametrize("autoencoded", [False, True])
def test_decoder_is_trained_and_exported(folder: Path, tmp_path: Path, autoencoded: bool) -> None:
    changes: dict[str, Any] = {"loop": {"steps": 4 if autoencoded else 24}}
    if autoencoded:
        first: Any = recipe(folder, "autoencoder", loop={"steps": 1})
        train(autoencoder.build(first, "cpu"), first, tmp_path / "first")
        changes |= {"autoencoder": str(tmp_path / "first" / "export"), "heard": 0.5}
    parsed: Any = recipe(folder, "decoder", **changes)
    outcome = train(decoder.build(parsed, "cpu"), parsed, tmp_path / "run")
    lines = read(tmp_path / "run" / "curve.jsonl")
    assert outcome.finished
    losses = [line["loss_log"] for line in lines if "loss" in line]
    if not autoencoded:  # the output of an untrained autoencoder holds nothing to learn
        assert np.mean(losses[-4:]) < 0.95 * np.mean(losses[:4])
        assert lines[-1]["preview"]["mel_l1"] < 0.7
    assert ("mel_l1_heard" in lines[-1]["preview"]) is autoencoded
    assert (tmp_path / "run" / "previews" / f"step-{outcome.step:08d}" / "clip-0.wav").is_file()
    loaded = load_vocoder(checkpoint_with(tmp_path / "run" / "export", VOCODER, tmp_path / "model"), Placement())
    assert isinstance(loaded, SpectralVocoder)
    assert loaded.decode(np.full((2, 128, 9), -5, np.float32)).shape == (2, 9 * 512)


@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        ("autoencoder", {"architecture": "nowhere"}, "no config"),
        ("autoencoder", {"start": "nowhere"}, "no weights"),
        ("autoencoder", {"crops": [10240]}, "crops"),
        ("decoder", {"frames": 5000}, "frames"),
        ("decoder", {"autoencoder": "nowhere"}, "no config"),
        ("decoder", {"architecture": str(small_folder())}, "SpectralVocoder"),
    ],
)
def test_invalid_recipes_are_refused(folder: Path, kind: str, changes: dict[str, Any], problem: str) -> None:
    module: Any = {"autoencoder": autoencoder, "decoder": decoder}[kind]
    with pytest.raises(InputError, match=problem):
        module.build(recipe(folder, kind, **changes), "cpu")


def test_weights_of_another_architecture_are_refused(folder: Path, tmp_path: Path) -> None:
    other = small_folder() / AUTOENCODER
    with pytest.raises(InputError, match="another architecture"):
        autoencoder.build(recipe(folder, "autoencoder", start=str(other)), "cpu")  # type: ignore[arg-type]
