"""REPA in diffusion training: audio of the songs, trained heads, and training without missing teachers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from acestep_flows.audio import write
from acestep_flows.errors import InputError
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.data.encoded import ABOUT, EncodedSet
from acestep_flows.training.data.sounds import Sounds
from acestep_flows.training.kinds.diffusion import DiffusionTask
from acestep_flows.training.loop import loop
from acestep_flows.training.loop.curve import read
from acestep_flows.values import Audio
from tests.model.small import small_folder
from tests.training.encoded_songs import write_songs
from tests.training.kinds.test_song_task import task_of
from tests.training.small_teachers import write_teacher

RATE = 48_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoded songs with their recordings, and two teachers of the checkpoint's widths."""
    folder = tmp_path_factory.mktemp("repa")
    write_songs(folder / "encoded")
    for number in range(8):
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, (2, 3 * RATE)).astype(np.float32)
        write.audio(folder / "songs" / f"song {number}.wav", Audio(samples, RATE))
        for ending in ("prompt", "lyrics"):
            (folder / "songs" / f"song {number}_{ending}.txt").write_text("house")
    about = {"songs": 9, "source": {"kind": "folder", "path": str(folder / "songs")}}
    (folder / "encoded" / ABOUT).write_text(json.dumps(about))
    write_teacher(folder / "wide", 32, seed=1)
    write_teacher(folder / "narrow", 16, seed=2)
    return folder


def teachers(folder: Path, **mert: Any) -> dict[str, Any]:
    return {
        "mert": {"model": str(folder / "wide"), "chunk": 0.5} | mert,
        "m-hubert": {"model": str(folder / "narrow"), "chunk": 0.5, "weight": 0.25},
    }


def repa_task(folder: Path, **repa: Any) -> DiffusionTask:
    quiet = {"songs": 0, "measured": 2}
    return task_of(folder / "encoded", repa={"teachers": teachers(folder)} | repa, preview=quiet)


def test_the_audio_of_a_crop_is_its_part_of_the_recording(folder: Path) -> None:
    songs = EncodedSet(folder / "encoded")
    sounds = Sounds(songs)
    number = int(songs.songs[3].key.removeprefix("song "))
    real = np.random.default_rng(number).uniform(-0.5, 0.5, (2, 3 * RATE)).astype(np.float32).mean(axis=0)
    audio = sounds.mono(Crop(3, 2, 5), RATE)
    first = round(2 * 4096 * RATE / 44_100)
    np.testing.assert_allclose(audio, real[first : first + len(audio)], atol=1e-4)
    assert len(audio) == pytest.approx(5 * 4096 * RATE / 44_100, abs=1)
    assert len(sounds.mono(Crop(3, 2, 5), 16_000)) == len(audio) // 3
    assert len(sounds.mono(Crop(3, 0, 10**6), 24_000)) == 3 * RATE // 2, "the audio ends with the recording"


def test_terms_and_gradients(folder: Path) -> None:
    task, plain = repa_task(folder, coefficient=0.5), task_of(folder / "encoded")
    batch = next(batch for batch in map(task.batch, range(30)) if batch.lengths is not None)
    torch.manual_seed(1)
    terms = task.loss(batch)
    total = terms["flow"] + 0.5 * (terms["mert"] + 0.25 * terms["m-hubert"]) / 2
    torch.testing.assert_close(terms["loss"], total)
    torch.manual_seed(1)
    torch.testing.assert_close(terms["flow"], plain.loss(batch)["loss"])
    task.networks.transformer.zero_grad()
    terms["mert"].backward()
    assert task.alignment is not None
    (depth, _) = task.alignment.depths
    blocks = task.networks.transformer.blocks
    touched = [any(p.grad is not None and bool(p.grad.any()) for p in block.parameters()) for block in blocks]
    assert touched == [index <= depth for index in range(len(blocks))]
    heads = task.alignment.heads.projectors
    assert [all(p.grad is not None for p in head.parameters()) for head in heads] == [True, False]


def test_padding_of_a_batch_is_not_compared(folder: Path) -> None:
    task = repa_task(folder)
    batch = next(batch for batch in map(task.batch, range(30)) if batch.lengths is not None)
    assert task.alignment is not None
    assert batch.lengths is not None
    assert batch.teacher_audio is not None
    depth = task.alignment.depths[0]
    states = torch.randn(len(batch.data), batch.data.shape[-1], task.networks.transformer.config.width)
    changed = states.clone()
    for row, length in enumerate(batch.lengths):
        changed[row, length:] = 100.0
    flow = torch.zeros(())
    first, second = (
        task.alignment.loss(flow, {depth: hidden}, batch.lengths, batch.teacher_audio).total
        for hidden in (states, changed)
    )
    assert torch.equal(first, second)


def losses(curve: Path) -> list[dict[str, float]]:
    return [{name: loss for name, loss in line.items() if name.startswith("loss")} for line in read(curve)]


def test_heads_are_trained_resumed_and_exported(folder: Path, tmp_path: Path) -> None:
    for name, steps in (("whole", 4), ("parts", 2), ("parts", 4)):
        task = task_of(
            folder / "encoded",
            repa={"teachers": teachers(folder)},
            preview={"songs": 0, "measured": 0},
            loop={"steps": steps, "schedule": "constant", "log_every": 1, "precision": "float32"},
        )
        loop.train(task, task._recipe, tmp_path / name, resume=True)
    whole, parts = (losses(tmp_path / name / "curve.jsonl") for name in ("whole", "parts"))
    assert whole == parts
    assert set(whole[0]) == {"loss", "loss_flow", "loss_mert", "loss_m-hubert"}
    file = Path("ace_step_transformer") / "diffusion_pytorch_model.safetensors"
    before, after = load_file(small_folder() / file), load_file(tmp_path / "whole" / "export" / file)
    for head in (0, 1):
        name = f"projectors.{head}.4.bias"
        assert after[name].shape == before[name].shape
        assert not torch.equal(after[name].float(), before[name].float())


def test_without_teachers_training_is_as_without_repa(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = {name: {"model": str(folder / "nowhere")} for name in ("mert", "m-hubert")}
    task = repa_task(folder, teachers=missing)
    assert task.alignment is None
    assert caplog.text.count("is left out") == 2
    assert "repa" not in task.modules()
    assert set(task.loss(task.batch(0))) == {"loss"}
    one_teacher = repa_task(folder, teachers=teachers(folder) | {"mert": missing["mert"]})
    assert one_teacher.alignment is not None
    terms = one_teacher.loss(one_teacher.batch(0))
    torch.testing.assert_close(terms["loss"], terms["flow"] + 0.25 * terms["m-hubert"])
    assert {name.partition(".4")[0] for name in one_teacher.alignment.tensors() if ".4" in name} == {"projectors.1"}


def test_heads_start_from_the_checkpoint(folder: Path) -> None:
    task = repa_task(folder)
    assert task.alignment is not None
    stored = load_file(small_folder() / "ace_step_transformer" / "diffusion_pytorch_model.safetensors")
    for name, tensor in task.alignment.tensors().items():
        torch.testing.assert_close(tensor, stored[name].float())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mert": {"model": "narrow"}}, "features of 16 channels"),
        ({"mert": {"model": "wide", "depth": 99}}, "repa.teachers.mert.depth: 99"),
        ({"third": {"model": "wide", "rate": 16000, "chunk": 1.0}}, "repa.teachers.third.depth: none"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(folder: Path, settings: dict[str, Any], message: str) -> None:
    with_paths = {name: teacher | {"model": str(folder / teacher["model"])} for name, teacher in settings.items()}
    with pytest.raises(InputError, match=message):
        repa_task(folder, teachers=with_paths)


def test_the_head_of_another_teacher_is_not_exported(folder: Path) -> None:
    settings = {"third": {"model": str(folder / "wide"), "rate": 16000, "chunk": 1.0, "depth": 0}}
    task = repa_task(folder, teachers=settings)
    assert task.alignment is not None
    assert task.alignment.depths == (0,)
    assert task.alignment.tensors() == {}
    assert "third" in task.loss(task.batch(0))


def test_a_missing_source_is_an_error(folder: Path, tmp_path: Path) -> None:
    write_songs(tmp_path / "encoded")
    with pytest.raises(InputError, match="does not name the source"):
        task_of(tmp_path / "encoded", repa={"teachers": teachers(folder)})
    about = {"songs": 9, "source": {"kind": "folder", "path": str(tmp_path / "gone")}}
    (tmp_path / "encoded" / ABOUT).write_text(json.dumps(about))
    with pytest.raises(InputError, match="need the source of the songs.* no such folder"):
        task_of(tmp_path / "encoded", repa={"teachers": teachers(folder)})


def test_a_missing_recording_is_named_and_the_state_saved(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "songs", tmp_path / "songs")
    shutil.copytree(folder / "encoded", tmp_path / "encoded")
    about = {"songs": 9, "source": {"kind": "folder", "path": str(tmp_path / "songs")}}
    (tmp_path / "encoded" / ABOUT).write_text(json.dumps(about))
    settings = {"steps": 40, "schedule": "constant", "ahead": 0, "log_every": 1, "precision": "float32"}
    task = task_of(tmp_path / "encoded", repa={"teachers": teachers(folder)}, preview={"songs": 0}, loop=settings)
    missing = task.songs.songs[task._batches.batch(1)[0].song].key

    def remove(progress: loop.TrainingProgress) -> None:
        (tmp_path / "songs" / f"{missing}.wav").unlink(missing_ok=True)

    with pytest.raises(InputError, match=rf"song '{missing}' cannot be read"):
        loop.train(task, task._recipe, tmp_path / "run", watch=remove)
    assert (tmp_path / "run" / "states" / "step-00000001.pt").is_file()
