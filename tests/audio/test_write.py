"""Writing of audio files: every format is read back, bad options are refused, no partial file is left."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from acestep_flows import storage
from acestep_flows.audio import loudness, read, tags, write
from acestep_flows.audio.formats import FORMATS, format_for
from acestep_flows.errors import InputError, StorageError
from acestep_flows.values import Audio
from tests.audio.signals import RATE, noise, noisy, sine

SUBTYPES = [(kind.name, subtype) for kind in FORMATS.values() for subtype in kind.subtypes]
STEP = {"pcm_16": 2**-15, "pcm_24": 2**-23, "float32": 0.0}


@pytest.mark.parametrize(("name", "subtype"), SUBTYPES)
def test_every_format_is_read_back(tmp_path: Path, name: str, subtype: str) -> None:
    sound = sine(440, 1.0)
    written = write.audio(tmp_path / f"song.{name}", sound, subtype=subtype)
    restored = read.audio(written.path)
    assert (restored.sample_rate, restored.samples.shape) == (RATE, sound.samples.shape)
    tolerance = STEP.get(subtype, 0.02)  # lossy: the tolerance also shows that the encoder delay is removed
    np.testing.assert_allclose(restored.samples, sound.samples, rtol=0, atol=tolerance)
    assert (written.size, written.format, written.over) == (written.path.stat().st_size, name, 0)
    assert [path.name for path in tmp_path.iterdir()] == [f"song.{name}"]


@pytest.mark.parametrize(
    ("name", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_16"), ("mp3", "MPEG_LAYER_III"), ("ogg", "VORBIS")]
)
def test_each_format_has_a_default_sample_type(tmp_path: Path, name: str, subtype: str) -> None:
    info = soundfile.info(write.audio(tmp_path / f"song.{name}", noisy(0.2)).path)
    assert (info.format, info.subtype, info.samplerate, info.channels) == (name.upper(), subtype, 48_000, 2)


def test_other_rates_and_channel_counts_become_48_khz_stereo(tmp_path: Path) -> None:
    for channels in (1, 2, 8):
        restored = read.audio(write.audio(tmp_path / "song.wav", noisy(0.5, channels=channels, rate=8_000)).path)
        assert (restored.sample_rate, restored.samples.shape) == (48_000, (2, 24_000))


def test_the_rate_can_be_chosen(tmp_path: Path) -> None:
    restored = read.audio(write.audio(tmp_path / "song.flac", noisy(0.5, rate=44_100), sample_rate=44_100).path)
    assert (restored.sample_rate, restored.samples.shape) == (44_100, (2, 22_050))


def test_peaks_over_full_scale_are_turned_down_and_told(tmp_path: Path) -> None:
    samples = noise(2, RATE)
    samples[0, 20_000:20_004] = [1.0, 1.5, -1.5, 1.2]
    written = write.audio(tmp_path / "song.wav", Audio(samples, RATE), subtype="pcm_24")
    restored = read.audio(written.path).samples
    assert written.over == pytest.approx(3.52, abs=0.01)
    np.testing.assert_allclose(restored[0, 20_000:20_004], [1 / 1.5, 1.0, -1.0, 0.8], atol=0.01)  # no flat top
    np.testing.assert_allclose(restored[:, :19_000], samples[:, :19_000], rtol=0, atol=2**-23)
    np.testing.assert_allclose(restored[:, 21_000:], samples[:, 21_000:], rtol=0, atol=2**-23)


@pytest.mark.parametrize("name", ["mp3", "ogg"])
@pytest.mark.parametrize("level", [0.95, 1.0, 1.4])
def test_lossy_files_do_not_come_out_over_full_scale(tmp_path: Path, name: str, level: float) -> None:
    time_axis = np.arange(2 * RATE) / RATE
    clipped = np.clip(3 * np.sin(2 * np.pi * 220 * time_axis) + np.sin(2 * np.pi * 3_100 * time_axis), -1, 1)
    sound = Audio((level * np.stack([clipped, -clipped])).astype(np.float32), RATE)
    written = write.audio(tmp_path / f"song.{name}", sound)
    assert (written.over > 0) == (level > 1)
    assert np.abs(read.audio(written.path).samples).max() <= 1.0


def full_scale_noise(seconds: float) -> Audio:
    """What codecs add most to: mp3 decodes it at 1.16, though its true peaks are limited to -1 dBTP."""
    return Audio(np.random.default_rng(0).uniform(-1, 1, (2, round(seconds * RATE))).astype(np.float32), RATE)


def test_what_a_codec_adds_to_peaks_is_taken_off_and_told(tmp_path: Path) -> None:
    written = write.audio(tmp_path / "noise.mp3", full_scale_noise(1.0))
    assert 0.8 < np.abs(read.audio(written.path).samples).max() <= 1.0
    (note,) = written.notes
    assert re.fullmatch(r"peaks are limited to -[23]\.\d dBTP, because mp3 decodes them louder than they are", note)
    kept = tags.Tags({"graph": "noise"}, title="noise")
    again = write.encode(full_scale_noise(1.0), FORMATS["mp3"], subtype=None, tags=kept)
    assert write.warnings(again) == [note]
    assert tags.read(storage.write(tmp_path / "tagged.mp3", again.content)).title == "noise"


def test_a_file_that_stays_over_full_scale_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def peak(content: bytes) -> float:
        made.append(content)
        return 1.2

    monkeypatch.setattr(write, "_decoded_peak", peak)
    encoded = write.encode(full_scale_noise(0.2), FORMATS["mp3"], subtype=None, tags=None)
    assert len(made) == write.MOST_TRIES
    assert encoded.content == made[-1]
    assert "decoded samples are up to 1.6 dB over full scale" in encoded.notes[-1]


@pytest.mark.parametrize("name", ["mp3", "ogg"])
def test_a_lossy_file_of_a_song_with_headroom_is_as_before(name: str) -> None:
    sound = sine(440, 1.0, level=0.85)
    assert loudness.limit(sound, write.LOSSY_CEILING) is sound
    assert write.encode(sound, FORMATS[name], subtype=None, tags=None)[1] == 0


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_samples_of_a_16_bit_file_are_written_to_the_bit(tmp_path: Path, name: str) -> None:
    """What an edit keeps of a user's song is the same in the file."""
    every = np.arange(-(2**15), 2**15, dtype=np.int16)
    soundfile.write(tmp_path / "given.wav", np.stack([every, every[::-1]], axis=1), 44_100, subtype="PCM_16")
    given = read.audio(tmp_path / "given.wav")
    path = write.audio(tmp_path / f"song.{name}", given, sample_rate=44_100).path
    np.testing.assert_array_equal(read.audio(path).samples, given.samples)


@pytest.mark.parametrize(
    ("rate", "name", "own"),
    [(44_100, "wav", 44_100), (96_000, "flac", 96_000), (96_000, "mp3", 48_000), (1_000, "ogg", 48_000)],
)
def test_audio_has_a_rate_of_its_own_where_the_format_has_it(rate: int, name: str, own: int) -> None:
    assert write.own_rate(noisy(0.1, rate=rate), FORMATS[name]) == own


def test_float_samples_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    loud = Audio(noise(2, 100, level=3.0), RATE)
    written = write.audio(tmp_path / "song.wav", loud, subtype="float32")
    assert written.over == 0
    np.testing.assert_array_equal(read.audio(written.path).samples, loud.samples)


def test_a_long_song_is_written_as_ogg(tmp_path: Path) -> None:
    """libsndfile's encoder overflows the stack when several minutes are written at once."""
    long = noisy(360, rate=8_000)
    written = write.audio(tmp_path / "song.ogg", long, sample_rate=8_000)
    assert soundfile.info(written.path).frames == long.samples.shape[1]


def test_the_extension_decides_the_format_if_it_is_known() -> None:
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
def test_options_that_do_not_fit_together_are_refused(
    tmp_path: Path, path: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write.audio(tmp_path / path, noisy(0.1), **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_audio_without_samples_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no samples"):
        write.audio(tmp_path / f"song.{name}", noisy(0))


def test_a_wav_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "LARGEST_FILE", 100_000)
    with pytest.raises(InputError, match="wav file: 1 s"):
        write.audio(tmp_path / "song.wav", noisy(1))
    assert write.audio(tmp_path / "song.flac", noisy(1)).size > 100_000


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_one_error_and_leaves_no_file(tmp_path: Path, name: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match=f"song.{name}: cannot be written"):
            write.audio(tmp_path / f"song.{name}", noisy(5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
