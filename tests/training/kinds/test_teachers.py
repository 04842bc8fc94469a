"""Teachers hear what spec 05 section 4 says they do, and are never fetched."""

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
from acestep_flows.training.kinds.teachers import PUBLISHED, Teacher, TeacherSettings, load_teacher, normalised
from tests.training.small_teachers import write_teacher

STRIDE, CHUNK = 4, 40


class Counting(nn.Module):
    """Gives the samples themselves, every fourth one, and one frame less than there could be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config: Any = type("Config", (), {"hidden_size": 1, "conv_stride": (2, 2)})
        self.heard: list[tuple[int, ...]] = []

    def forward(self, chunks: Tensor) -> Any:
        self.heard.append(tuple(chunks.shape))
        states = chunks[:, ::STRIDE, None][:, : CHUNK // STRIDE - 1]
        return type("Output", (), {"last_hidden_state": states})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher"), 16)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(2, 5 * CHUNK), min_size=1, max_size=3))
def test_chunks_of_all_songs_are_heard_together_and_put_together_again(lengths: list[int]) -> None:
    model = Counting()
    waves = [torch.randn(length, generator=torch.Generator().manual_seed(length)) for length in lengths]
    found = Teacher(model, rate=10, chunk=CHUNK / 10).hear(waves)
    chunks = [-(-length // CHUNK) for length in lengths]
    assert model.heard == [(sum(chunks), CHUNK)]
    for wave, states, count in zip(waves, found, chunks, strict=True):
        full, rest = divmod(len(wave), CHUNK)
        wanted = [normalised(wave)[first * CHUNK :][: CHUNK - STRIDE : STRIDE] for first in range(full)]
        if rest:
            wanted.append(normalised(wave)[full * CHUNK :][: (CHUNK // STRIDE - 1) * STRIDE : STRIDE])
        torch.testing.assert_close(states[:, 0], torch.cat(wanted))
        assert len(states) <= count * (CHUNK // STRIDE)


def test_frames_of_full_chunks_are_the_published_ones(folder: Path) -> None:
    for name, frames in (("mert", 374), ("m-hubert", 1499)):
        published = PUBLISHED[name]
        teacher = load_teacher(name, TeacherSettings(model=str(folder)), "cpu")
        assert teacher is not None
        assert (teacher.rate, teacher.width) == (published.rate, 16)
        full, part = round(published.chunk * published.rate), 3201
        (states,) = teacher.hear([torch.randn(full + part)])
        assert states.shape == (frames + 11, 16)
        assert not states.requires_grad


def test_loudness_and_offset_mean_nothing(folder: Path) -> None:
    teacher = load_teacher("m-hubert", TeacherSettings(model=str(folder), chunk=0.5), "cpu")
    assert teacher is not None
    wave = torch.randn(12_000)
    with torch.autocast("cpu", torch.bfloat16):
        plain, other = teacher.hear([wave, 0.25 * wave + 0.5])
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain, other, rtol=1e-3, atol=1e-4)
    assert normalised(wave).var() == pytest.approx(1, abs=1e-4)


def test_one_that_is_not_here_is_left_out_without_looking_for_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def connect(*args: object) -> NoReturn:
        raise AssertionError("it goes to the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert load_teacher("mert", TeacherSettings(model="nobody/has-this-teacher"), "cpu") is None
    assert load_teacher("mert", TeacherSettings(model=str(tmp_path / "nowhere")), "cpu") is None
    for model in ("nobody/has-this-teacher", "nowhere"):
        assert f"{model}" in caplog.text
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert "teacher mert is left out" in caplog.text
    assert "`hf download nobody/has-this-teacher` brings it" in caplog.text


def test_code_beside_the_weights_is_not_run_unasked(
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


def test_an_unknown_teacher_says_what_it_is() -> None:
    with pytest.raises(InputError, match=r"repa.teachers.mule: .*model, rate and chunk"):
        load_teacher("mule", TeacherSettings(model="somewhere"), "cpu")
