"""Files as people have them: what is read, how long it is by ffmpeg, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.audio import read, tags
from acestep_flows.errors import InputError

LENGTHS = {
    "cbr_noinfo.mp3": 4.05,
    "concat.mp3": 7.08,
    "concat_noxing.mp3": 7.08,
    "cut1.wav": 0.8,
    "data_more8.wav": 0.8,
    "data_odd_more.wav": 0.8,
    "data_zero.wav": 0.8,
    "ff51.ogg": 1.0,
    "ff51.opus": 1.0,
    "ff_noxing.mp3": 2.04,
    "ff_pipe.flac": 2.0,
    "ff_pipe_cbr.mp3": 2.04,
    "ff_pipe_vbr.mp3": 2.04,
    "id3_pad.mp3": 4.07,
    "opus_noeos.ogg": 3.0,
    "rf64.wav": 0.8,
    "riff_7fff.wav": 0.8,
    "riff_zero.wav": 0.8,
    "streaming_fffe.wav": 0.8,
    "vbr_noxing.mp3": 4.05,
    "vorbis_noeos.ogg": 3.0,
    "w64.w64": 0.8,
    "xing_half.mp3": 4.0,
    "xing_plus1.mp3": 4.03,
}
"""Seconds."""

REFUSED = {
    "cut.mp3": r"truncated after 2\.51 s; 1\.49 s are missing",
    "ff.m4a": r"M4A or MP4 file, which is not read .*convert it first: ffmpeg -i .*ff\.m4a -vn .*ff\.flac",
    "wav_info_hang.wav": "no data chunk",
}


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Path:
    folder = Path(request.config.getoption("--reference")).parent / "cases" / "audio"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


def test_every_case_is_in_the_table(cases: Path) -> None:
    assert {path.name for path in cases.iterdir()} == LENGTHS.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", LENGTHS)
def test_it_is_read_to_its_end(cases: Path, name: str) -> None:
    audio = read.audio(cases / name)
    assert audio.seconds == pytest.approx(LENGTHS[name], abs=0.05)
    assert audio.channels == 2
    assert bool(audio.notes) == ("51" in name)
    described = read.describe((cases / name).read_bytes())
    assert (described.samples, described.sample_rate) == (audio.samples.shape[1], audio.sample_rate)
    assert described.notes == audio.notes
    assert tags.read(cases / name).recipe == {}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_reason(cases: Path, name: str) -> None:
    for door in (read.audio, read.describe):
        with pytest.raises(InputError, match=REFUSED[name]):
            door(cases / name)
