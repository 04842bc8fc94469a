"""REPA in a diffusion training: songs are heard where they are, heads learn along, missing teachers do no harm."""

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
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoded songs with the recordings they are from, and two teachers of the checkpoint's widths."""
    place = tmp_path_factory.mktemp("place")
    write_songs(place / "encoded")
    for number in range(8):
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, (2, 3 * RATE)).astype(np.float32)
        write.audio(place / "songs" / f"song {number}.wav", Audio(samples, RATE))
        for ending in ("prompt", "lyrics"):
            (place / "songs" / f"song {number}_{ending}.txt").write_text("house")
    about = {"songs": 9, "source": {"kind": "folder", "path": str(place / "songs")}}
    (place / "encoded" / ABOUT).write_text(json.dumps(about))
    write_teacher(place / "wide", 32, seed=1)
    write_teacher(place / "narrow", 16, seed=2)
    return place


def teachers(place: Path, **mert: Any) -> dict[str, Any]:
    return {
        "mert": {"model": str(place / "wide"), "chunk": 0.5} | mert,
        "m-hubert": {"model": str(place / "narrow"), "chunk": 0.5, "weight": 0.25},
    }


def aligned(place: Path, **repa: Any) -> DiffusionTask:
    quiet = {"songs": 0, "measured": 2}
    return task_of(place / "encoded", repa={"teachers": teachers(place)} | repa, preview=quiet)


def test_a_crop_is_heard_where_it_is(place: Path) -> None:
    songs = EncodedSet(place / "encoded")
    sounds = Sounds(songs)
    number = int(songs.songs[3].key.removeprefix("song "))
    real = np.random.default_rng(number).uniform(-0.5, 0.5, (2, 3 * RATE)).astype(np.float32).mean(axis=0)
    heard = sounds.mono(Crop(3, 2, 5), RATE)
    first = round(2 * 4096 * RATE / 44_100)
    np.testing.assert_allclose(heard, real[first : first + len(heard)], atol=1e-4)
    assert len(heard) == pytest.approx(5 * 4096 * RATE / 44_100, abs=1)
    assert len(sounds.mono(Crop(3, 2, 5), 16_000)) == len(heard) // 3
    assert len(sounds.mono(Crop(3, 0, 10**6), 24_000)) == 3 * RATE // 2, "it ends where the recording does"


def test_terms_and_gradients(place: Path) -> None:
    task, plain = aligned(place, coefficient=0.5), task_of(place / "encoded")
    batch = next(one for one in map(task.batch, range(30)) if one.lengths is not None)
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
    assert touched == [place <= depth for place in range(len(blocks))]
    heads = task.alignment.heads.projectors
    assert [all(p.grad is not None for p in head.parameters()) for head in heads] == [True, False]


def test_padding_of_a_batch_is_not_compared(place: Path) -> None:
    task = aligned(place)
    batch = next(one for one in map(task.batch, range(30)) if one.lengths is not None)
    assert task.alignment is not None
    assert batch.lengths is not None
    assert batch.heard is not None
    depth = task.alignment.depths[0]
    states = torch.randn(len(batch.data), batch.data.shape[-1], task.networks.transformer.config.width)
    spoilt = states.clone()
    for row, length in enumerate(batch.lengths):
        spoilt[row, length:] = 100.0
    flow = torch.zeros(())
    one, other = (task.alignment.loss(flow, {depth: s}, batch.lengths, batch.heard).total for s in (states, spoilt))
    assert torch.equal(one, other)


def losses(curve: Path) -> list[dict[str, float]]:
    return [{name: loss for name, loss in line.items() if name.startswith("loss")} for line in read(curve)]


def test_it_learns_resumes_and_leaves_its_heads(place: Path, tmp_path: Path) -> None:
    for name, steps in (("whole", 4), ("parts", 2), ("parts", 4)):
        task = task_of(
            place / "encoded",
            repa={"teachers": teachers(place)},
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


def test_missing_teachers_leave_the_training_as_it_is(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = {name: {"model": str(place / "nowhere")} for name in ("mert", "m-hubert")}
    task = aligned(place, teachers=gone)
    assert task.alignment is None
    assert caplog.text.count("is left out") == 2
    assert "repa" not in task.modules()
    assert set(task.loss(task.batch(0))) == {"loss"}
    half = aligned(place, teachers=teachers(place) | {"mert": gone["mert"]})
    assert half.alignment is not None
    terms = half.loss(half.batch(0))
    torch.testing.assert_close(terms["loss"], terms["flow"] + 0.25 * terms["m-hubert"])
    assert {name.partition(".4")[0] for name in half.alignment.tensors() if ".4" in name} == {"projectors.1"}


def test_heads_begin_as_the_checkpoints(place: Path) -> None:
    task = aligned(place)
    assert task.alignment is not None
    there = load_file(small_folder() / "ace_step_transformer" / "diffusion_pytorch_model.safetensors")
    for name, tensor in task.alignment.tensors().items():
        torch.testing.assert_close(tensor, there[name].float())


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"mert": {"model": "narrow"}}, "states of 16 channels"),
        ({"mert": {"model": "wide", "depth": 99}}, "repa.teachers.mert.depth: 99"),
        ({"third": {"model": "wide", "rate": 16000, "chunk": 1.0}}, "repa.teachers.third.depth: none"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(place: Path, own: dict[str, Any], said: str) -> None:
    placed = {name: one | {"model": str(place / one["model"])} for name, one in own.items()}
    with pytest.raises(InputError, match=said):
        aligned(place, teachers=placed)


def test_a_teacher_of_ones_own_has_a_head_that_stays_at_home(place: Path) -> None:
    own = {"third": {"model": str(place / "wide"), "rate": 16000, "chunk": 1.0, "depth": 0}}
    task = aligned(place, teachers=own)
    assert task.alignment is not None
    assert task.alignment.depths == (0,)
    assert task.alignment.tensors() == {}
    assert "third" in task.loss(task.batch(0))


def test_songs_that_cannot_be_heard_again_are_an_error(place: Path, tmp_path: Path) -> None:
    write_songs(tmp_path / "encoded")
    with pytest.raises(InputError, match="where its songs are from"):
        task_of(tmp_path / "encoded", repa={"teachers": teachers(place)})
    about = {"songs": 9, "source": {"kind": "folder", "path": str(tmp_path / "gone")}}
    (tmp_path / "encoded" / ABOUT).write_text(json.dumps(about))
    with pytest.raises(InputError, match="heard again.* no such folder"):
        task_of(tmp_path / "encoded", repa={"teachers": teachers(place)})


def test_a_recording_that_is_gone_is_named_and_the_state_saved(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "songs", tmp_path / "songs")
    shutil.copytree(place / "encoded", tmp_path / "encoded")
    about = {"songs": 9, "source": {"kind": "folder", "path": str(tmp_path / "songs")}}
    (tmp_path / "encoded" / ABOUT).write_text(json.dumps(about))
    settings = {"steps": 40, "schedule": "constant", "ahead": 0, "log_every": 1, "precision": "float32"}
    task = task_of(tmp_path / "encoded", repa={"teachers": teachers(place)}, preview={"songs": 0}, loop=settings)
    lost = task.songs.songs[task._batches.batch(1)[0].song].key

    def lose(progress: loop.TrainingProgress) -> None:
        (tmp_path / "songs" / f"{lost}.wav").unlink(missing_ok=True)

    with pytest.raises(InputError, match=rf"song '{lost}' cannot be heard again"):
        loop.train(task, task._recipe, tmp_path / "run", watch=lose)
    assert (tmp_path / "run" / "states" / "step-00000001.pt").is_file()
