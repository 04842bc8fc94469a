"""Song sources: upstream's folder layout, a Hugging Face data set on disk, parquet, or synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from acestep_flows.errors import InputError
from acestep_flows.training.data.beats import draw_beat
from acestep_flows.training.data.encoded import BEAT, MIX, VOCAL, WITHOUT
from acestep_flows.training.data.song import Song, SongSource, list_audio_files, read_recording, split_tags
from acestep_flows.training.data.tables import Datasets, Parquet
from acestep_flows.training.loop.content_stamp import stamp_by_time, stamp_files
from acestep_flows.training.loop.recipe import RecipeSection
from acestep_flows.values import MAX_SECONDS, MODEL_RATE, Audio, FloatArray

SUFFIXES = (".mp3", ".wav", ".flac", ".ogg")
PROMPT, LYRICS = "_prompt.txt", "_lyrics.txt"


class FolderSettings(RecipeSection):
    """Upstream's layout: X.mp3 with X_prompt.txt and X_lyrics.txt beside it, and optional stems as X.STEM.wav."""

    kind: Literal["folder"] = "folder"
    path: Path = Field(description="The folder, searched at any depth.")


class DatasetsSettings(RecipeSection):
    """A data set saved with `save_to_disk`, by upstream's converter or by `datasets`."""

    kind: Literal["datasets"] = "datasets"
    path: Path = Field(description="The folder of the data set.")


class ParquetSettings(RecipeSection):
    """Parquet files written by a bulk job, or other ones with tags, lyrics and audio."""

    kind: Literal["parquet"] = "parquet"
    path: Path = Field(description="A parquet file, or a folder of them.")


class SynthesisSettings(RecipeSection):
    """Synthetic songs, whose tags, lyrics and stems are exact."""

    kind: Literal["synthesis"] = "synthesis"
    count: int = Field(gt=0, description="Number of songs.")
    seed: int = Field(0, ge=0, description="Decides the songs.")
    seconds: dict[float, float] = Field({8.9: 1.0}, description="Lengths in seconds, each with its relative frequency.")
    aligned: float = Field(1.0, ge=0, le=1, description="Share of songs that begin on a bar.")
    vocals: float | None = Field(None, ge=0, le=1, description="Share of sung songs; absent: each style has its own.")
    stems: float = Field(0.0, ge=0, le=1, description="Share of songs with a track of and without each stem.")
    tempo_spread: float = Field(
        0.0, ge=0, le=1, description="How far tempos leave those of the style, as a share; then the number tells them."
    )
    steady_voice: bool = Field(False, description="Sing one syllable per half beat.")
    beats: float = Field(0.0, ge=0, le=1, description="Share of songs with the track 'beat': drum strokes in time.")
    voices: float = Field(0.0, ge=0, le=1, description="Share of sung songs with the track 'vocal': the voice alone.")

    @field_validator("seconds")
    @classmethod
    def _valid_lengths(cls, seconds: dict[float, float]) -> dict[float, float]:
        if not seconds or any(not 0 < length <= MAX_SECONDS for length in seconds) or min(seconds.values()) <= 0:
            raise ValueError(f"give lengths of up to {MAX_SECONDS:.0f} seconds, each with a share above 0")
        return seconds


SourceSettings = FolderSettings | DatasetsSettings | ParquetSettings | SynthesisSettings


def open_source(settings: SourceSettings) -> SongSource:
    """Open the source that `settings` describe.

    Raises:
        InputError: the source is missing, cannot be read, or has no songs.
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
    """Recordings with text files beside them. A recording without both text files counts, and is refused when read."""

    def __init__(self, settings: FolderSettings) -> None:
        self._root = settings.path
        try:
            files = list_audio_files(self._root, SUFFIXES)
        except InputError:
            if not any(self._root.glob("*.parquet")):
                raise
            allowed = "source.kind: parquet, for its tables"
            raise InputError("no audio files, but parquet", where=str(self._root), allowed=allowed) from None
        names = {file.with_suffix("") for file in files}
        self._files: list[Path] = []
        self._stems: dict[Path, list[Path]] = {}
        for file in files:
            mix = file.with_suffix("").with_suffix("")
            if "." in file.stem and mix in names:
                self._stems.setdefault(mix, []).append(file)
            else:
                self._files.append(file)

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        return str(self._files[index].relative_to(self._root).with_suffix(""))

    def song(self, index: int) -> Song:
        file = self._files[index]
        tags, lyrics = (_read_text(_beside(file, ending), file) for ending in (PROMPT, LYRICS))
        tracks = {MIX: read_recording(file)}
        for stem in self._stems_of(file):
            tracks[stem.stem.removeprefix(f"{file.stem}.")] = read_recording(stem, silent=True)
        return Song(self.key(index), split_tags(tags), lyrics, add_rests(tracks))

    def stamp(self, index: int) -> str:
        """sha256 of names and contents of the recording, its stems and its texts."""
        return stamp_files(self._root, self._files_of(index))

    def former_stamp(self, index: int) -> str:
        return stamp_by_time(self._root, self._files_of(index))

    def _files_of(self, index: int) -> list[Path]:
        """The recording of a song, its texts and its stems."""
        file = self._files[index]
        texts = [_beside(file, ending) for ending in (PROMPT, LYRICS)]
        return [file, *texts, *self._stems_of(file)]

    def _stems_of(self, file: Path) -> list[Path]:
        return self._stems.get(file.with_suffix(""), [])


class SynthesisSongs(SongSource):
    """Synthetic pieces. The source's seed and the song's number decide everything about a song."""

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
        score = compose(
            seed, seconds=seconds, aligned=aligned, vocal=vocal,
            tempo_spread=settings.tempo_spread, steady_voice=settings.steady_voice,
        )  # fmt: skip
        piece = render(score)
        stems = piece.stems if random.random() < settings.stems else {}
        tracks = add_rests({name: to_audio(track) for name, track in {MIX: piece.mix, **stems}.items()})
        if settings.beats and random.random() < settings.beats:
            tracks[BEAT] = to_audio(draw_beat(piece.truth, piece.mix.shape[1], random))
        if VOCAL in piece.stems and VOCAL not in tracks and random.random() < settings.voices:
            tracks[VOCAL] = to_audio(piece.stems[VOCAL])
        labels = {name: str(label) for name, label in piece.truth.parts.items()} | {"style": piece.truth.style}
        return Song(self.key(index), split_tags(piece.tags), piece.lyrics, tracks, labels=labels)


def to_audio(track: FloatArray) -> Audio:
    """A rendered track as audio."""
    return Audio(np.ascontiguousarray(track, np.float32), MODEL_RATE)


def add_rests(tracks: Mapping[str, Audio]) -> dict[str, Audio]:
    """`tracks`, and with two stems or more also "without STEM" for each stem: the sum of the other stems.

    Raises:
        InputError: the stems differ in length.
    """
    stems = [name for name in tracks if name != MIX]
    rests = {}
    for stem in stems if len(stems) > 1 else []:
        others = [tracks[name].samples for name in stems if name != stem]
        if any(other.shape != others[0].shape for other in others):
            raise InputError("the stems of the song differ in length", where=stem)
        rests[WITHOUT + stem] = Audio(np.sum(others, axis=0, dtype=np.float32), tracks[stem].sample_rate)
    return {**tracks, **rests}


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(file.stem + ending)


def _read_text(path: Path, file: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        allowed = f"tags in X{PROMPT} and lyrics in X{LYRICS} beside the audio file X"
        raise InputError(f"no {path.name}", where=str(file), allowed=allowed) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} cannot be read: {error}", where=str(file)) from None
