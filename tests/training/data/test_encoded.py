"""Encoded songs are read as they were written, in any shard."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.training.data.encoded import (
    ABOUT,
    Broken,
    EncodedSet,
    Encoding,
    entries,
    read_listing,
    read_shard,
    shard_path,
    write_shard,
)
from tests.training.encoded_songs import encoding, write_songs


def test_songs_and_tracks_are_read_back(tmp_path: Path) -> None:
    lengths = (12, 8, 10, 12)
    songs = EncodedSet(write_songs(tmp_path, lengths, ("mix", "vocal")))
    assert [song.frames for song in songs.songs] == list(lengths)
    for number, frames in enumerate(lengths):
        expected = encoding(number, frames, ("mix", "vocal"))
        assert songs.songs[number].key == expected.song.key
        assert songs.songs[number].tags == expected.song.tags
        for track in ("mix", "vocal"):
            np.testing.assert_array_equal(songs.latents(number, track), expected.tracks[track])
            np.testing.assert_array_equal(songs.latents(number, track, 2, 5), expected.tracks[track][..., 2:7])


def test_broken_songs_are_listed(tmp_path: Path) -> None:
    songs = EncodedSet(write_songs(tmp_path))
    assert songs.broken == [Broken("damaged", "silent")]
    assert len(list(entries(tmp_path))) == len(songs) + 1


def test_unknown_track_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"song 1.*'drums'.*mix"):
        EncodedSet(write_songs(tmp_path)).latents(1, "drums")


def test_a_folder_without_usable_songs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no encoded songs"):
        EncodedSet(tmp_path)
    (tmp_path / ABOUT).write_text("{}")
    write_shard(tmp_path, 0, [Broken("a", "silent"), Broken("b", "no tags")])
    with pytest.raises(InputError, match="no usable song: no tags; silent"):
        EncodedSet(tmp_path)


def test_a_shard_without_listing_does_not_count(tmp_path: Path) -> None:
    write_songs(tmp_path)
    (tmp_path / "shard-00001.jsonl").unlink()
    assert len(EncodedSet(tmp_path)) == 4


def test_the_digest_covers_latents_whatever_shard_they_are_in(tmp_path: Path) -> None:
    songs = [encoding(0, 12, ("mix", "vocal")), encoding(1, 8)]
    for name, shards in (("one", [songs]), ("two", [songs[:1], songs[1:]]), ("other", [songs[:1], [louder(songs[1])]])):
        for number, shard in enumerate(shards):
            write_shard(tmp_path / name, number, list(shard))
        (tmp_path / name / ABOUT).write_text("{}")
    one, two, other = (EncodedSet(tmp_path / name) for name in ("one", "two", "other"))
    assert one.digest == two.digest
    assert other.listing_digest == one.listing_digest
    assert other.digest != one.digest


def louder(song: Encoding) -> Encoding:
    return dataclasses.replace(song, tracks={name: 2 * track for name, track in song.tracks.items()})


def test_a_shard_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written: list[Encoding | Broken] = [encoding(0, 12, ("mix", "vocal")), Broken("damaged", "silent"), encoding(1, 8)]
    write_shard(tmp_path, 3, written)
    shard = read_shard(tmp_path, 3)
    write_shard(tmp_path, 4, shard)
    assert [file.name for file in sorted(tmp_path.iterdir())][::2] == ["shard-00003.jsonl", "shard-00004.jsonl"]
    for ending in ("jsonl", "npy"):
        assert (tmp_path / f"shard-00003.{ending}").read_bytes() == (tmp_path / f"shard-00004.{ending}").read_bytes()


def test_lyrics_with_odd_line_ends_and_keys_with_surrogates(tmp_path: Path) -> None:
    song = dataclasses.replace(encoding(0, 8).song, key="a\udcff", lyrics="one\u2028two\x85three\nfour")
    write_shard(tmp_path, 0, [Encoding(song, encoding(0, 8).tracks)])
    assert read_listing(shard_path(tmp_path, 0)) == [song]


def npy(header: bytes) -> bytes:
    """A file of numpy with this header, and latents enough."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4096)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("shard-00001.npy", None),
        ("shard-00001.npy", b""),
        ("shard-00001.npy", 500),
        ("shard-00001.npy", b"PK"),
        ("shard-00001.jsonl", 300),
        ("shard-00001.jsonl", b"5\n"),
        ("shard-00001.jsonl", b'{"key": "a"}\n'),
        ("shard-00001.jsonl", b'{"key": "a", "tags": [], "lyrics": "", "frames": 10000, "tracks": {"mix": 0}}\n'),
        ("shard-00001.jsonl", b'{"key": "a", "tags": [], "lyrics": "", "frames": Infinity, "tracks": {"mix": 0}}\n'),
        ("shard-00001.jsonl", b'{"key": "a", "tags": [], "lyrics": "", "frames": 4, "tracks": {"mix": -4}}\n'),
        ("shard-00001.jsonl", b'{"key": "a", "tags": [], "lyrics": "", "frames": 4, "tracks": {"mix": -Infinity}}\n'),
        ("shard-00001.jsonl", b"[" * 100_000 + b"\n"),
        ("shard-00001.npy", npy(b"{'descr': '<f2', 'fortran_order': False, 'shape': (4, 128), ")),
        ("shard-00001.npy", npy(b"{'descr': '<f2', 'fortran_order': False, 'shape': (4L, 128L), }")),
        ("shard-00001.npy", npy(b"{'descr': '<f2', 'fortran_order': False, 'shape': (4, -128), }")),
        ("shard-00001.npy", npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (4, 128), }")),
        (ABOUT, b"{"),
        (ABOUT, b"[1]"),
    ],
)
def test_damage_is_named(tmp_path: Path, file: str, content: bytes | int | None) -> None:
    path = write_songs(tmp_path) / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(InputError, match=rf"{file.partition('.')[0]}.*: damaged") as caught:
        EncodedSet(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_digest_depends_on_songs_and_not_on_the_folder(tmp_path: Path) -> None:
    first, second = (EncodedSet(write_songs(tmp_path / name)) for name in ("a", "b"))
    assert first.digest == second.digest
    write_shard(tmp_path / "b", 1, [encoding(7, 9)])
    assert EncodedSet(tmp_path / "b").digest != first.digest
    (tmp_path / "a" / ABOUT).write_text('{"autoencoder": "another"}')
    assert EncodedSet(tmp_path / "a").digest != first.digest
