"""Teachers get the audio of spec 05 section 4, and are never downloaded."""

from __future__ import annotations

import json
import logging
import shutil
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.training.kinds.teachers import PUBLISHED, Teacher, TeacherSettings, load_teacher, normalise
from tests.training.small_teachers import write_teacher

STRIDE, CHUNK = 4, 40


class Counting(nn.Module):
    """Returns every fourth sample as a frame, and one frame less than fits a chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config: Any = type("Config", (), {"hidden_size": 1, "conv_stride": (2, 2)})
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, chunks: Tensor) -> Any:
        self.shapes.append(tuple(chunks.shape))
        states = chunks[:, ::STRIDE, None][:, : CHUNK // STRIDE - 1]
        return type("Output", (), {"last_hidden_state": states})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher"), 16)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(2, 5 * CHUNK), min_size=1, max_size=3))
def test_chunks_of_all_songs_are_one_batch_and_joined_again(lengths: list[int]) -> None:
    model = Counting()
    waves = [torch.randn(length, generator=torch.Generator().manual_seed(length)) for length in lengths]
    features = Teacher(model, rate=10, chunk=CHUNK / 10).features(waves)
    chunks = [-(-length // CHUNK) for length in lengths]
    assert model.shapes == [(sum(chunks), CHUNK)]
    for wave, states, count in zip(waves, features, chunks, strict=True):
        full, rest = divmod(len(wave), CHUNK)
        expected = [normalise(wave)[first * CHUNK :][: CHUNK - STRIDE : STRIDE] for first in range(full)]
        if rest:
            expected.append(normalise(wave)[full * CHUNK :][: (CHUNK // STRIDE - 1) * STRIDE : STRIDE])
        torch.testing.assert_close(states[:, 0], torch.cat(expected))
        assert len(states) <= count * (CHUNK // STRIDE)


def test_frames_per_chunk_are_as_published(folder: Path) -> None:
    for name, frames in (("mert", 374), ("m-hubert", 1499)):
        published = PUBLISHED[name]
        teacher = load_teacher(name, TeacherSettings(model=str(folder)), "cpu")
        assert teacher is not None
        assert (teacher.rate, teacher.width) == (published.rate, 16)
        full, part = round(published.chunk * published.rate), 3201
        (states,) = teacher.features([torch.randn(full + part)])
        assert states.shape == (frames + 11, 16)
        assert not states.requires_grad


def test_loudness_and_offset_have_no_effect(folder: Path) -> None:
    teacher = load_teacher("m-hubert", TeacherSettings(model=str(folder), chunk=0.5), "cpu")
    assert teacher is not None
    wave = torch.randn(12_000)
    with torch.autocast("cpu", torch.bfloat16):
        plain, changed = teacher.features([wave, 0.25 * wave + 0.5])
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain, changed, rtol=1e-3, atol=1e-4)
    assert normalise(wave).var() == pytest.approx(1, abs=1e-4)


def test_a_missing_teacher_is_left_out_without_network_access(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def connect(*args: object) -> NoReturn:
        raise AssertionError("a network connection was opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert load_teacher("mert", TeacherSettings(model="nobody/has-this-teacher"), "cpu") is None
    assert load_teacher("mert", TeacherSettings(model=str(tmp_path / "nowhere")), "cpu") is None
    for model in ("nobody/has-this-teacher", "nowhere"):
        assert f"{model}" in caplog.text
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert "teacher mert is left out" in caplog.text
    assert "`hf download nobody/has-this-teacher` gets it" in caplog.text


def test_code_beside_the_weights_is_not_run_by_default(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(folder, foreign)
    config = json.loads((foreign / "config.json").read_text())
    config |= {"model_type": "mert_model", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (foreign / "config.json").write_text(json.dumps(config))
    (foreign / "own.py").write_text("raise AssertionError('this was run')\n")
    assert load_teacher("mert", TeacherSettings(model=str(foreign)), "cpu") is None
    assert "left out" in caplog.text


def test_an_unknown_teacher_needs_model_rate_and_chunk() -> None:
    with pytest.raises(InputError, match=r"repa.teachers.mule: .*model, rate and chunk"):
        load_teacher("mule", TeacherSettings(model="somewhere"), "cpu")
