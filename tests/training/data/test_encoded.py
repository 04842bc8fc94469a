"""Encoded songs come back as they were written, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.training.data.encoded import ABOUT, Broken, EncodedSet, entries, write_shard
from tests.training.encoded_songs import encoding, write_songs


def test_songs_and_tracks_come_back(tmp_path: Path) -> None:
    lengths = (12, 8, 10, 12)
    songs = EncodedSet(write_songs(tmp_path, lengths, ("mix", "vocal")))
    assert [song.frames for song in songs.songs] == list(lengths)
    for number, frames in enumerate(lengths):
        made = encoding(number, frames, ("mix", "vocal"))
        assert songs.songs[number].key == made.song.key
        assert songs.songs[number].tags == made.song.tags
        for track in ("mix", "vocal"):
            np.testing.assert_array_equal(songs.latents(number, track), made.tracks[track])
            np.testing.assert_array_equal(songs.latents(number, track, 2, 5), made.tracks[track][..., 2:7])


def test_broken_songs_are_listed(tmp_path: Path) -> None:
    songs = EncodedSet(write_songs(tmp_path))
    assert songs.broken == [Broken("spoilt", "silent")]
    assert len(list(entries(tmp_path))) == len(songs) + 1


def test_unknown_track_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"song 1.*'drums'.*mix"):
        EncodedSet(write_songs(tmp_path)).latents(1, "drums")


def test_nothing_encoded_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no encoded songs"):
        EncodedSet(tmp_path)
    (tmp_path / ABOUT).write_text("{}")
    write_shard(tmp_path, 0, [Broken("a", "silent"), Broken("b", "no tags")])
    with pytest.raises(InputError, match="no usable song: no tags; silent"):
        EncodedSet(tmp_path)


def test_a_shard_counts_once_its_listing_is_there(tmp_path: Path) -> None:
    write_songs(tmp_path)
    (tmp_path / "shard-00001.jsonl").unlink()
    assert len(EncodedSet(tmp_path)) == 4
