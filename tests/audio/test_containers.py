"""What each container says of its size, and what is believed of it."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio import read
from acestep_flows.audio.containers import examine, foreign
from acestep_flows.audio.containers.mpeg_frame import frame, length_tag
from acestep_flows.audio.containers.pieces import Pieces, Slice
from acestep_flows.errors import InputError
from acestep_flows.values import Audio
from tests.audio.files import chunk_size, encoded, id3
from tests.audio.signals import RATE, noise, sine

SONG = sine(440, 1.0, rate=44_100)
UNKNOWN = (0, 0x7FFF_0000, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFDA, 0xFFFF_FFFF)


def mp3(audio: Audio = SONG) -> bytes:
    return encoded(audio.samples, "MP3", "MPEG_LAYER_III", audio.sample_rate)


def frames(content: bytes) -> list[bytes]:
    """The frames of an MP3 without tags."""
    found, position = [], 0
    while (header := frame(content[position : position + 4])) is not None:
        found.append(content[position : position + header.size])
        position += header.size
    return found


def untagged(content: bytes) -> bytes:
    first, *rest = frames(content)
    assert length_tag(first) is not None
    return b"".join(rest)


@pytest.mark.parametrize("size", UNKNOWN)
@pytest.mark.parametrize("riff", [0, 36, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_sizes_that_programs_write_when_they_do_not_know(size: int, riff: int) -> None:
    song = encoded(noise(2, 5_000))
    assert read.audio(chunk_size(song, size, riff)) == read.audio(song)


@pytest.mark.parametrize("lack", [1, 3, 4, 400, 9_000])
def test_what_lacks_less_than_50_ms_is_read(lack: int) -> None:
    assert read.audio(encoded(noise(2, RATE))[:-lack]).samples.shape[1] == RATE - -(-lack // 4)
    assert read.audio(chunk_size(encoded(noise(2, RATE)), 4 * RATE + lack)).samples.shape[1] == RATE


def test_an_empty_data_chunk_before_other_chunks_is_empty() -> None:
    song = encoded(np.zeros((2, 0), np.float32))
    with pytest.raises(InputError, match="no samples"):
        read.audio(song + b"LIST" + struct.pack("<I", 4) + b"INFO")


def test_chunks_before_and_after_the_sound_do_not_matter() -> None:
    song = encoded(noise(2, 1_000))
    junk = b"JUNK" + struct.pack("<I", 5) + b"hello\0"
    wav = song[:12] + junk + song[12:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + song[36:] + junk
    assert read.audio(wav) == read.audio(song)


def test_big_endian_wav() -> None:
    samples = noise(2, 500)
    data = (samples.T * 32767).round().astype(">i2").tobytes()
    kind = struct.pack(">HHIIHH", 1, 2, RATE, RATE * 4, 4, 16)
    body = b"WAVEfmt " + struct.pack(">I", 16) + kind + b"data" + struct.pack(">I", len(data)) + data
    content = b"RIFX" + struct.pack(">I", len(body)) + body
    np.testing.assert_allclose(read.audio(content).samples, samples, atol=1e-4)


@pytest.mark.parametrize(("subtype", "samples", "size"), [("PCM_16", 0, 0), ("PCM_24", 0, 0xFFFF_FFFF),
                                                          ("FLOAT", 0, 0), ("PCM_16", 0xFFFF_FFFF, 8)])  # fmt: skip
def test_aiff_from_a_pipe(subtype: str, samples: int, size: int) -> None:
    song = bytearray(encoded(noise(2, 5_000), "AIFF", subtype))
    common, sound = song.index(b"COMM"), song.index(b"SSND")
    expected = read.audio(bytes(song))
    struct.pack_into(">I", song, common + 10, samples)
    struct.pack_into(">I", song, sound + 4, size)
    struct.pack_into(">I", song, 4, 0)
    audio = read.audio(bytes(song))
    np.testing.assert_array_equal(audio.samples[:, :5_000], expected.samples)
    assert audio.seconds == pytest.approx(expected.seconds, abs=0.01)  # libsndfile's PEAK chunk may follow


def test_caf_from_a_pipe() -> None:
    song = bytearray(encoded(noise(2, 5_000), "CAF"))
    expected = read.audio(bytes(song))
    struct.pack_into(">q", song, song.index(b"data") + 4, -1)
    assert read.audio(bytes(song)) == expected


def test_a_whole_mp3_gives_the_samples_that_libsndfile_gives() -> None:
    import soundfile

    content = mp3()
    np.testing.assert_array_equal(read.audio(content).samples.T, soundfile.read(BytesIO(content), dtype="float32")[0])


@pytest.mark.parametrize("audio", [SONG, sine(440, 1.0, rate=22_050), sine(440, 1.0, rate=8_000, channels=1)])
def test_mp3_frames_are_counted(audio: Audio) -> None:
    content = mp3(audio)
    for other in (untagged(content), id3(1001) + untagged(content), content + b"TAG" + bytes(125)):
        assert read.audio(other).seconds == pytest.approx(1.0, abs=0.18)  # delay and padding at 8 kHz
    for promised in (1, 20, 35):
        wrong = bytearray(content)
        position = content.index(b"Xing" if b"Xing" in content else b"Info")
        right = struct.unpack_from(">I", wrong, position + 8)[0]
        struct.pack_into(">I", wrong, position + 8, min(promised, right))
        assert read.audio(bytes(wrong)) == read.audio(content)


def test_joined_mp3_files_are_read_to_the_end() -> None:
    content = mp3()
    for between in (b"", b"TAG" + bytes(125), id3(5_001), bytes(999)):
        joined = read.audio(content + between + content + between + content)
        assert joined.seconds == pytest.approx(3.0, abs=0.17)
        assert np.abs(joined.samples[:, -22_050:-4_410]).max() > 0.3


def test_joined_mp3_files_of_different_kinds() -> None:
    joined = read.audio(mp3() + mp3(sine(440, 1.0, rate=48_000, channels=1)))
    assert (joined.sample_rate, joined.channels) == (44_100, 2)
    assert joined.seconds == pytest.approx(2.0, abs=0.1)


def test_a_cut_mp3_says_how_much_is_missing() -> None:
    content = mp3(sine(440, 3.0, rate=44_100))
    with pytest.raises(InputError, match=r"truncated after 1\.\d\d s; 1\.\d\d s are missing"):
        read.audio(content[: len(content) // 2])


def free_format(seconds: float = 2.0) -> bytes:
    """An MP3 whose headers name no bit rate. At 48 kHz frames of one rate have one size, so only the headers change."""
    stream = BytesIO()
    shape = {"samplerate": 48_000, "channels": 1, "format": "MP3", "subtype": "MPEG_LAYER_III"}
    with soundfile.SoundFile(stream, "w", bitrate_mode="CONSTANT", compression_level=0.5, **shape) as file:
        file.write(sine(440, seconds, channels=1).samples.T)
    content = bytearray(stream.getvalue())
    size = frame(bytes(content[:4])).size  # type: ignore[union-attr]
    for start in range(0, len(content), size):
        content[start + 2] &= 0x0F
    return bytes(content[size:])  # without the frame that holds the length


def test_an_mp3_of_free_format_is_read_to_its_end() -> None:
    content = free_format()
    audio = read.audio(content)
    assert audio.seconds == pytest.approx(2.0, abs=0.05)
    assert np.abs(audio.samples).max() > 0.1
    for tagged in (id3(300) + content, content + b"TAG" + bytes(125)):
        assert read.audio(tagged) == audio
    assert read.audio(content[:-1]).seconds == pytest.approx(audio.seconds - 0.024, abs=0.001)
    with pytest.raises(InputError, match="free format that goes on as something else at byte"):
        read.audio(content + b"anything" * 2000)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_every_link_of_a_chain_is_read(codec: str) -> None:
    link = encoded(noise(2, RATE), "OGG", codec)
    other = encoded(noise(1, RATE, seed=1), "OGG", codec)
    first = read.audio(link)
    chain = read.audio(link + other + link)
    assert chain.samples.shape == (2, 3 * RATE)
    np.testing.assert_array_equal(chain.samples[:, :RATE], first.samples)
    np.testing.assert_array_equal(chain.samples[:, 2 * RATE :], first.samples)
    with pytest.raises(InputError, match=r"truncated after [12]\.\d\d s"):
        read.audio((link + other + link)[:-1000])


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_an_ogg_without_a_last_page_is_read(codec: str) -> None:
    content = bytearray(encoded(noise(2, 3 * RATE), "OGG", codec))
    last = content.rindex(b"OggS")
    assert content[last + 5] & 4
    content[last + 5] &= ~4  # its check sum is wrong now, and made anew
    assert read.audio(bytes(content)).seconds == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("total", [0, 3 * RATE])
def test_a_flac_of_unknown_length_behind_tags(total: int) -> None:
    song = encoded(noise(2, 3 * RATE), "FLAC")
    packed = int.from_bytes(song[18:26], "big")
    content = song[:18] + (packed >> 36 << 36 | total).to_bytes(8, "big") + song[26:]
    ape = b"APETAGEX" + struct.pack("<IIII8x", 2000, 2000, 1, 1 << 31)
    tail = ape + bytes(2000 - 32) + ape + b"TAG" + bytes(125)
    assert read.audio(id3(4_000) + content + tail) == read.audio(song)
    if total:
        assert read.audio(content + b"anything else" * 1_000) == read.audio(song)
    else:
        with pytest.raises(InputError, match=r"not readable as audio after \d\.\d\d s: flac decoder lost sync"):
            read.audio(content[: len(content) // 2])


FOREIGN = {
    "song.m4a": b"\0\0\0\x1cftypM4A \0\0\2\0",
    "film.mp4": b"\0\0\0\x20ftypisom\0\0\2\0",
    "song.aac": b"\xff\xf1\x50\x80\x2e\x7f\xfc\x21",
    "song.webm": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81",
    "song.wma": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "my song.mka": b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81",
    "song.ape": b"MAC \x96\x0f\0\0",
    "film.avi": b"RIFF\0\0\0\0AVI LIST",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_formats_are_answered_with_a_command(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FOREIGN[name] + bytes(2_000))
    with pytest.raises(InputError, match=r"which is not read .*; convert it first: ffmpeg -i ") as caught:
        read.audio(path)
    target = path.with_suffix(".flac")
    assert str(caught.value).endswith(f"-vn {target})" if " " not in str(target) else f"-vn '{target}')")
    with pytest.raises(InputError, match=r"ffmpeg -i FILE -vn FILE\.flac"):
        read.audio(path, name="upload")


def test_notes_are_no_sound() -> None:
    with pytest.raises(InputError, match="MIDI file.*synthesiser"):
        read.audio(b"MThd\0\0\0\6\0\1\0\1\0\x60", name="song.mid")
    assert foreign.name(b"RIFF\0\0\0\0WAVEfmt ") is None


@given(sizes=st.lists(st.integers(0, 40), max_size=6), start=st.integers(0, 200), size=st.integers(0, 200))
@settings(deadline=None)
def test_pieces_are_one_file(sizes: list[int], start: int, size: int) -> None:
    file = BytesIO(bytes(range(200)))
    pieces = [Slice(3 * number, size) if number % 2 else bytes([number] * size) for number, size in enumerate(sizes)]
    parts = [
        bytes(range(200))[each.start : each.start + each.size] if isinstance(each, Slice) else each for each in pieces
    ]
    content = Pieces(pieces)
    assert content.size == sum(sizes)
    assert content.read(file, start, size) == b"".join(parts)[start : start + size]


def test_nothing_of_a_file_is_read_that_its_header_does_not_lead_to() -> None:
    class Counting(BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            self.taken += len(content)
            return content

    file = Counting(encoded(noise(2, 50 * RATE)))
    examine(file, "song")
    assert file.taken < 600_000
