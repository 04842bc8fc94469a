"""Every format: what is written is read back, what does not fit is refused, nothing half-written stays."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from acestep_flows.audio import read, write
from acestep_flows.audio.formats import FORMATS, format_for
from acestep_flows.errors import InputError, StorageError
from acestep_flows.values import Audio
from tests.audio.signals import RATE, noise, noisy, sine

SUBTYPES = [(kind.name, subtype) for kind in FORMATS.values() for subtype in kind.subtypes]
STEP = {"pcm_16": 2**-15, "pcm_24": 2**-23, "float32": 0.0}


@pytest.mark.parametrize(("name", "subtype"), SUBTYPES)
def test_reads_back_as_it_was_written(tmp_path: Path, name: str, subtype: str) -> None:
    sound = sine(440, 1.0)
    written = write.audio(tmp_path / f"song.{name}", sound, subtype=subtype)
    again = read.audio(written.path)
    assert (again.sample_rate, again.samples.shape) == (RATE, sound.samples.shape)
    tolerance = STEP.get(subtype, 0.02)  # lossy: also shows that encoder delay was taken off
    np.testing.assert_allclose(again.samples, sound.samples, rtol=0, atol=tolerance)
    assert (written.size, written.format, written.clipped) == (written.path.stat().st_size, name, 0)
    assert [path.name for path in tmp_path.iterdir()] == [f"song.{name}"]


@pytest.mark.parametrize(
    ("name", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_16"), ("mp3", "MPEG_LAYER_III"), ("ogg", "VORBIS")]
)
def test_default_sample_types(tmp_path: Path, name: str, subtype: str) -> None:
    info = soundfile.info(write.audio(tmp_path / f"song.{name}", noisy(0.2)).path)
    assert (info.format, info.subtype, info.samplerate, info.channels) == (name.upper(), subtype, 48_000, 2)


def test_other_rates_and_channel_counts_become_48_khz_stereo(tmp_path: Path) -> None:
    for channels in (1, 2, 8):
        again = read.audio(write.audio(tmp_path / "song.wav", noisy(0.5, channels=channels, rate=8_000)).path)
        assert (again.sample_rate, again.samples.shape) == (48_000, (2, 24_000))


def test_a_rate_of_ones_own(tmp_path: Path) -> None:
    again = read.audio(write.audio(tmp_path / "song.flac", noisy(0.5, rate=44_100), sample_rate=44_100).path)
    assert (again.sample_rate, again.samples.shape) == (44_100, (2, 22_050))


def test_samples_beyond_full_scale_are_clipped_and_counted(tmp_path: Path) -> None:
    loud = Audio(np.array([[1.5, -1.5, 0.5], [0.0, 1.0, -1.0]], np.float32), RATE)
    written = write.audio(tmp_path / "song.wav", loud, subtype="pcm_24")
    assert written.clipped == 2
    expected = np.array([[1, -1, 0.5], [0, 1, -1]], np.float32)
    np.testing.assert_allclose(read.audio(written.path).samples, expected, atol=2**-22)


def test_float_samples_keep_what_lies_beyond_full_scale(tmp_path: Path) -> None:
    loud = Audio(noise(2, 100, level=3.0), RATE)
    written = write.audio(tmp_path / "song.wav", loud, subtype="float32")
    assert written.clipped == 0
    np.testing.assert_array_equal(read.audio(written.path).samples, loud.samples)


def test_a_long_song_as_ogg(tmp_path: Path) -> None:
    """libsndfile's encoder overflows the stack when it is given minutes at once."""
    long = noisy(360, rate=8_000)
    written = write.audio(tmp_path / "song.ogg", long, sample_rate=8_000)
    assert soundfile.info(written.path).frames == long.samples.shape[1]


def test_the_format_is_what_the_extension_says_unless_it_says_nothing() -> None:
    assert format_for(Path("SONG.FLAC"), None).name == "flac"
    assert format_for(Path("song"), "mp3").name == "mp3"
    assert format_for(Path("take.2"), "ogg").name == "ogg"


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("song.m4a", {}, r"song.m4a: unknown audio format 'm4a' \(allowed: wav, flac, mp3, ogg\)"),
        ("song", {}, "unknown audio format ''"),
        ("song.wav", {"format": "mp3"}, r"format mp3 in a file named .wav \(allowed: .mp3\)"),
        ("song.flac", {"subtype": "float32"}, r"no float32 in flac \(allowed: pcm_16, pcm_24\)"),
        ("song.mp3", {"sample_rate": 96_000}, r"mp3 file: 96000 Hz \(allowed: 8000, .*48000\)"),
    ],
)
def test_refuses_what_does_not_go_together(tmp_path: Path, path: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write.audio(tmp_path / path, noisy(0.1), **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_refuses_audio_without_samples(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no samples"):
        write.audio(tmp_path / f"song.{name}", noisy(0))


def test_refuses_a_wav_beyond_what_its_sizes_can_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "LARGEST_FILE", 100_000)
    with pytest.raises(InputError, match="wav file: 1 s"):
        write.audio(tmp_path / "song.wav", noisy(1))
    assert write.audio(tmp_path / "song.flac", noisy(1)).size > 100_000


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match=f"song.{name}: cannot be written"):
            write.audio(tmp_path / f"song.{name}", noisy(5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
