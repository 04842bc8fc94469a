"""Pictures of songs, checked by their pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from acestep_flows.audio.picture import picture, png, strip
from acestep_flows.errors import StorageError
from acestep_flows.values import Audio
from tests.audio.signals import RATE, noise, noisy, silence, sine


def pixels(audio: Audio, title: str = "") -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The picture as (height, width, 3) in 0..1."""
    content: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = image.imread(BytesIO(png(audio, title)))[..., :3]
    return content


def bright_rows(audio: Audio) -> slice:
    """The brightest rows of the spectrogram, in the middle of the picture."""
    column = pixels(audio)[330:720, 700:800].sum(axis=(1, 2))
    rows = np.flatnonzero(column > 0.8 * column.max())
    return slice(int(rows[0]), int(rows[-1]))


def test_the_picture_is_a_png_of_1500_by_800() -> None:
    assert png(noisy(2)).startswith(b"\x89PNG")
    assert pixels(noisy(2)).shape == (800, 1500, 3)


def test_higher_tones_are_drawn_higher() -> None:
    rows = [bright_rows(sine(hertz, 2)) for hertz in (300, 2_000, 10_000)]
    assert rows[0].start > rows[1].stop > rows[1].start > rows[2].stop
    assert all(row.stop - row.start < 30 for row in rows)


def test_time_runs_from_left_to_right() -> None:
    samples = noise(2, 4 * RATE)
    samples[:, : 2 * RATE] = 0
    spectrogram = pixels(Audio(samples, RATE))[330:720]
    assert spectrogram[:, 100:700].mean() < 0.05
    assert spectrogram[:, 780:1370].mean() > 0.3


def test_each_channel_has_its_own_wave() -> None:
    samples = noise(2, 2 * RATE)
    samples[1] = 0
    content = pixels(Audio(samples, RATE))
    left = float((content[75:165, 200:1300, 0] < 0.5).mean())
    right = float((content[198:290, 200:1300, 0] < 0.5).mean())
    assert left > 0.2
    assert right < 0.05


def test_full_scale_is_marked_in_red() -> None:
    def reds(audio: Audio) -> int:
        red, green, blue = np.moveaxis(pixels(audio)[60:300], 2, 0)
        return int(((red > 0.6) & (green < 0.45) & (blue < 0.45)).sum())

    assert reds(sine(100, 1, level=0.9)) == 0
    assert reds(sine(100, 1, level=1.2)) > 100


@pytest.mark.parametrize(
    "audio",
    [
        silence(0),
        silence(3),
        noisy(1 / RATE, channels=1),
        noisy(0.001),
        noisy(1, channels=8, rate=8_000),
        noisy(1, rate=192_000),
        noisy(1, level=1e30),
        noisy(1, level=1e-38),
    ],
)
def test_any_audio_has_a_picture(audio: Audio) -> None:
    assert pixels(audio).shape == (800, 1500, 3)


@pytest.mark.parametrize("title", ["", "$x_1$ \\frac", "夜の歌 😀", "a\nb\x00\ud800", "word" * 100])
def test_any_title_can_be_drawn(title: str) -> None:
    assert pixels(silence(0.1), title).shape == (800, 1500, 3)


def test_a_long_title_does_not_overlap_the_facts() -> None:
    plain, titled = pixels(silence(1)), pixels(silence(1), "W" * 300)
    np.testing.assert_array_equal(plain[:60, 1_215:], titled[:60, 1_215:])
    assert (titled[:60, 800:1_000] < 0.5).any()


def test_the_same_song_gives_the_same_bytes() -> None:
    assert png(noisy(1), "a") == png(noisy(1), "a")


def test_the_file_is_complete_or_absent(tmp_path: Path) -> None:
    assert picture(tmp_path / "a" / "song.png", silence(1)).read_bytes() == png(silence(1))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="song.png: cannot be written"):
        picture(tmp_path / "file" / "song.png", silence(1))


@pytest.mark.parametrize("seconds", [0.01, 1.0, 20.0])
def test_a_strip_has_the_requested_size(seconds: float) -> None:
    song = noisy(seconds)
    assert image.imread(BytesIO(strip(song, columns=300, rows=70))).shape[:2] == (70, 300)


@pytest.mark.parametrize("name", ["demo", "repainted", "chain"])
def test_the_colours_of_the_pictures_in_the_docs_are_smooth(name: str) -> None:
    pixels = image.imread(Path(__file__).parents[2] / "docs" / "pictures" / f"{name}.png")
    bar = pixels[258:580, 1122, :3]  # from the loudest to the quietest
    assert len(np.unique(bar, axis=0)) > 150
    assert np.abs(np.diff(bar, axis=0)).max() < 0.06, "a step that is seen"
