"""Conversion of files: lossless where both formats are, with tags."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from acestep_flows.audio import read, tags, write
from acestep_flows.audio.convert import convert
from acestep_flows.errors import InputError
from acestep_flows.values import Audio

TAGS = tags.Tags({"graph": "text2music", "lyrics": "\u6708\u53f0"}, title="Night bus")


def samples_of(content: bytes) -> np.ndarray:
    return np.asarray(soundfile.read(BytesIO(content), dtype="int16")[0])


@pytest.mark.parametrize(("kept", "wanted"), [("wav", "flac"), ("flac", "wav")])
def test_every_value_of_16_bits_survives(tmp_path: Path, kept: str, wanted: str) -> None:
    every = np.arange(-32_768, 32_768, dtype=np.int16)
    path = tmp_path / f"song.{kept}"
    soundfile.write(path, np.stack([every, every[::-1]], axis=1), 48_000, subtype="PCM_16")
    assert np.array_equal(samples_of(convert(path, wanted).content), soundfile.read(path, dtype="int16")[0])


@pytest.mark.parametrize("wanted", ["wav", "flac", "mp3", "ogg"])
def test_tags_survive(tmp_path: Path, wanted: str) -> None:
    path = tmp_path / "song.flac"
    write.audio(path, Audio(np.full((2, 48_000), 0.1, np.float32), 48_000), tags=TAGS)
    assert tags.read(convert(path, wanted).content) == TAGS


def test_rates_stay_where_the_format_has_them(tmp_path: Path) -> None:
    for rate, wanted, expected in ((44_100, "mp3", 44_100), (96_000, "flac", 96_000), (96_000, "mp3", 48_000)):
        path = tmp_path / "song.wav"
        soundfile.write(path, np.zeros((rate, 1)), rate)
        converted = read.audio(convert(path, wanted).content)
        assert (converted.sample_rate, converted.channels) == (expected, 2)


def test_files_of_other_programs_get_no_statement(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.zeros((4_800, 2)), 48_000)
    assert tags.read(convert(path, "flac").content) == tags.Tags(statement="")


def test_what_is_not_audio_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"no audio")
    with pytest.raises(InputError):
        convert(path, "flac")


@pytest.mark.parametrize("wanted", ["flac", "mp3", "wav"])
def test_what_is_over_full_scale_is_told(tmp_path: Path, wanted: str) -> None:
    path = tmp_path / "song.wav"
    loud = 1.5 * np.sin(np.linspace(0, 2_000, 48_000, dtype=np.float32))
    soundfile.write(path, np.stack([loud, loud], axis=1), 48_000, subtype="FLOAT")
    assert any("3.5 dB over full scale" in warning for warning in write.warnings(convert(path, wanted)))
    soundfile.write(path, np.stack([loud, loud], axis=1) / 4, 48_000, subtype="FLOAT")
    assert write.warnings(convert(path, wanted)) == []
