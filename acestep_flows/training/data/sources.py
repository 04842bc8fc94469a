"""Where songs come from: upstream's folder layout, a Hugging Face data set on disk, parquet, or synthesis.

A source knows how many songs it has and gives any of them by number, its tracks as audio. What is wrong with a song
is an `InputError` of that song alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from acestep_flows.errors import InputError
from acestep_flows.training.data.encoded import MIX, WITHOUT
from acestep_flows.training.data.song import Song, SongSource, recording, split_tags
from acestep_flows.training.data.tables import Datasets, Parquet
from acestep_flows.training.loop.content_stamp import stamp
from acestep_flows.training.loop.recipe import RecipeSection
from acestep_flows.values import MAX_SECONDS, MODEL_RATE, Audio

SUFFIXES = (".mp3", ".wav", ".flac", ".ogg")
PROMPT, LYRICS = "_prompt.txt", "_lyrics.txt"


class FolderSettings(RecipeSection):
    """Upstream's layout: X.mp3 with X_prompt.txt and X_lyrics.txt beside it; stems as X.STEM.wav, all optional."""

    kind: Literal["folder"] = "folder"
    path: Path = Field(description="The folder; looked through at any depth.")


class DatasetsSettings(RecipeSection):
    """A data set that upstream's converter, or `datasets`, saved with `save_to_disk`."""

    kind: Literal["datasets"] = "datasets"
    path: Path = Field(description="Its folder.")


class ParquetSettings(RecipeSection):
    """Parquet as bulk jobs write it, or any with tags, lyrics and audio."""

    kind: Literal["parquet"] = "parquet"
    path: Path = Field(description="A file, or a folder of them.")


class SynthesisSettings(RecipeSection):
    """Synthetic songs with known truth."""

    kind: Literal["synthesis"] = "synthesis"
    count: int = Field(gt=0, description="How many.")
    seed: int = Field(0, ge=0, description="Which ones.")
    seconds: dict[float, float] = Field({8.9: 1.0}, description="Lengths in seconds, and how often each.")
    aligned: float = Field(1.0, ge=0, le=1, description="Share that begins on a bar.")
    vocals: float | None = Field(None, ge=0, le=1, description="Share that is sung; absent: as the styles have it.")
    stems: float = Field(0.0, ge=0, le=1, description="Share that is encoded with its stems, and without each.")

    @field_validator("seconds")
    @classmethod
    def _some(cls, seconds: dict[float, float]) -> dict[float, float]:
        if not seconds or any(not 0 < length <= MAX_SECONDS for length in seconds) or min(seconds.values()) <= 0:
            raise ValueError(f"lengths of up to {MAX_SECONDS:.0f} seconds with shares above 0")
        return seconds


SourceSettings = FolderSettings | DatasetsSettings | ParquetSettings | SynthesisSettings


def open_source(settings: SourceSettings) -> SongSource:
    """The source of `settings`.

    Raises:
        InputError: it is not there, or has no songs.
    """
    match settings:
        case FolderSettings():
            return FolderSongs(settings)
        case DatasetsSettings():
            return Datasets(settings.path)
        case ParquetSettings():
            return Parquet(settings.path)
        case SynthesisSettings():
            return SynthesisSongs(settings)


class FolderSongs(SongSource):
    """Recordings with text files beside them. A recording without both files is a broken item, not a missing one."""

    def __init__(self, settings: FolderSettings) -> None:
        self._root = settings.path
        if not self._root.is_dir():
            raise InputError("no such folder", where=str(self._root))
        files = sorted(file for file in self._root.rglob("*") if file.suffix.lower() in SUFFIXES)
        names = {file.with_suffix("") for file in files}
        self._files: list[Path] = []
        self._stems: dict[Path, list[Path]] = {}
        for file in files:
            mix = file.with_suffix("").with_suffix("")
            if "." in file.stem and mix in names:
                self._stems.setdefault(mix, []).append(file)
            else:
                self._files.append(file)
        if not self._files:
            raise InputError("no audio files", where=str(self._root), allowed=", ".join(SUFFIXES))

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        return str(self._files[index].relative_to(self._root).with_suffix(""))

    def song(self, index: int) -> Song:
        file = self._files[index]
        tags, lyrics = (_text(_beside(file, ending), file) for ending in (PROMPT, LYRICS))
        recorded = {MIX: recording(file)}
        for stem in self._stems_of(file):
            recorded[stem.stem.removeprefix(f"{file.stem}.")] = recording(stem, silent=True)
        return Song(self.key(index), split_tags(tags), lyrics, with_rests(recorded))

    def stamp(self, index: int) -> str:
        """Of the recording, its stems and its texts."""
        file = self._files[index]
        return stamp(self._root, [file, *(_beside(file, ending) for ending in (PROMPT, LYRICS)), *self._stems_of(file)])

    def _stems_of(self, file: Path) -> list[Path]:
        return self._stems.get(file.with_suffix(""), [])


class SynthesisSongs(SongSource):
    """Pieces by seed. Every choice of a song follows from the source's seed and the song's number."""

    def __init__(self, settings: SynthesisSettings) -> None:
        self._settings = settings

    def __len__(self) -> int:
        return self._settings.count

    def key(self, index: int) -> str:
        return f"synthetic-{self._settings.seed}-{index}"

    def stamp(self, index: int) -> str:
        from acestep_flows.training.synthesis import VERSION

        return f"synthesis {VERSION}"

    def song(self, index: int) -> Song:
        from acestep_flows.training.synthesis import compose, render

        settings = self._settings
        random = np.random.default_rng([settings.seed, index])
        shares = np.array(list(settings.seconds.values()))
        seconds = float(random.choice(list(settings.seconds), p=shares / shares.sum()))
        seed, aligned = int(random.integers(2**62)), bool(random.random() < settings.aligned)
        vocal = None
        if settings.vocals is not None:
            vocal = str(random.choice(("male", "female"))) if random.random() < settings.vocals else "none"
        piece = render(compose(seed, seconds=seconds, aligned=aligned, vocal=vocal))
        tracks = {MIX: piece.mix}
        if random.random() < settings.stems:
            tracks |= piece.stems
        audio = {name: Audio(np.ascontiguousarray(track, np.float32), MODEL_RATE) for name, track in tracks.items()}
        labels = {name: str(label) for name, label in piece.truth.parts.items()} | {"style": piece.truth.style}
        return Song(self.key(index), split_tags(piece.tags), piece.lyrics, with_rests(audio), labels=labels)


def with_rests(tracks: Mapping[str, Audio]) -> dict[str, Audio]:
    """`tracks`, and for each stem what is left of the mix without it, where there are other stems."""
    stems = [name for name in tracks if name != MIX]
    rests = {}
    for stem in stems if len(stems) > 1 else []:
        others = [tracks[name].samples for name in stems if name != stem]
        if any(other.shape != others[0].shape for other in others):
            raise InputError("its stems differ in length", where=stem)
        rests[WITHOUT + stem] = Audio(np.sum(others, axis=0, dtype=np.float32), tracks[stem].sample_rate)
    return {**tracks, **rests}


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(file.stem + ending)


def _text(path: Path, file: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise InputError(
            f"no {path.name}", where=str(file), allowed="tags and lyrics in files beside the audio"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} cannot be read: {error}", where=str(file)) from None
