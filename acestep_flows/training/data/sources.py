"""Where songs come from: upstream's folder layout, a Hugging Face data set on disk, parquet, or synthesis.

A source knows how many songs it has and gives any of them by number, its tracks as audio. What is wrong with a song
is an `InputError` of that song alone. The rules for recordings are those of spec 05 section 1.2.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from acestep_flows.errors import InputError
from acestep_flows.training.data.encoded import MIX, WITHOUT
from acestep_flows.training.recipe import Section
from acestep_flows.values import MAX_SECONDS, MODEL_RATE, OUTPUT_RATE, Audio, FloatArray

SUFFIXES = (".mp3", ".wav", ".flac", ".ogg")
PROMPT, LYRICS = "_prompt.txt", "_lyrics.txt"
MIN_SECONDS = 3
SILENT_SHARE = 0.95
AUDIO_COLUMNS = ("audio", "filename", "audio_path", "file")


@dataclass(frozen=True)
class Song:
    """A song as its source has it: all tracks of one length; "mix" is always there."""

    key: str
    tags: tuple[str, ...]
    lyrics: str
    tracks: Mapping[str, Audio]
    recaptions: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


class Source(ABC):
    """Songs by number."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def key(self, index: int) -> str:
        """What song `index` is called."""

    @abstractmethod
    def song(self, index: int) -> Song:
        """Song `index`.

        Raises:
            InputError: it cannot be used.
        """


class FolderSettings(Section):
    """Upstream's layout: X.mp3 with X_prompt.txt and X_lyrics.txt beside it; stems as X.STEM.wav, all optional."""

    kind: Literal["folder"] = "folder"
    path: Path = Field(description="The folder; looked through at any depth.")


class DatasetsSettings(Section):
    """A data set that upstream's converter, or `datasets`, saved with `save_to_disk`."""

    kind: Literal["datasets"] = "datasets"
    path: Path = Field(description="Its folder.")


class ParquetSettings(Section):
    """Parquet as bulk jobs write it, or any with tags, lyrics and audio."""

    kind: Literal["parquet"] = "parquet"
    path: Path = Field(description="A file, or a folder of them.")


class SynthesisSettings(Section):
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


def open_source(settings: SourceSettings) -> Source:
    """The source of `settings`.

    Raises:
        InputError: it is not there, or has no songs.
    """
    match settings:
        case FolderSettings():
            return Folder(settings)
        case DatasetsSettings():
            return Datasets(settings)
        case ParquetSettings():
            return Parquet(settings)
        case SynthesisSettings():
            return Synthesis(settings)


class Folder(Source):
    """Recordings with text files beside them. A recording without both files is a broken item, not a missing one."""

    def __init__(self, settings: FolderSettings) -> None:
        self._root = settings.path
        if not self._root.is_dir():
            raise InputError("no such folder", where=str(self._root))
        files = sorted(file for file in self._root.rglob("*") if file.suffix.lower() in SUFFIXES)
        names = {file.with_suffix("") for file in files}
        self._files = [
            file for file in files if "." not in file.stem or file.with_suffix("").with_suffix("") not in names
        ]
        if not self._files:
            raise InputError("no audio files", where=str(self._root), allowed=", ".join(SUFFIXES))

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        return str(self._files[index].relative_to(self._root).with_suffix(""))

    def song(self, index: int) -> Song:
        file = self._files[index]
        tags, lyrics = (_text(file, ending) for ending in (PROMPT, LYRICS))
        recorded = {MIX: recording(file)}
        for stem in sorted(file.parent.glob(f"{_escaped(file.stem)}.*.*")):
            if stem.suffix.lower() in SUFFIXES:
                recorded[stem.stem.removeprefix(f"{file.stem}.")] = recording(stem, silent=True)
        return Song(self.key(index), split_tags(tags), lyrics, with_rests(recorded))


class _Rows(Source):
    """Songs in the rows of a table, by upstream's column names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _table(self) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _row(self, index: int) -> dict[str, Any]:
        return {name: value[0] for name, value in self._table.slice(index, 1).to_pydict().items()}

    def key(self, index: int) -> str:
        row = self._table.select([name for name in self._table.column_names if name in ("keys", "key", "id")])
        names = row.slice(index, 1).to_pydict().values()
        return str(next((name[0] for name in names if name[0]), f"row {index}"))

    def song(self, index: int) -> Song:
        row = self._row(index)
        if row.get("status") not in (None, "done", "ok"):
            raise InputError(f"not rendered: {row.get('error') or row['status']}", where=self.key(index))
        given = _given(row)
        tags = given.get("tags", "")
        words = split_tags(tags) if isinstance(tags, str) else tuple(str(tag) for tag in tags or ())
        recaptions = {kind: str(text) for kind, text in (given.get("recaption") or {}).items() if text}
        lyrics = str(given.get("norm_lyrics") or given.get("lyrics") or "")
        return Song(self.key(index), words, lyrics, {MIX: self._audio(row, index)}, recaptions)

    def _audio(self, row: Mapping[str, Any], index: int) -> Audio:
        found = next((row[name] for name in AUDIO_COLUMNS if row.get(name)), None)
        if isinstance(found, Mapping):
            found = found.get("bytes") or found.get("path")
        if isinstance(found, bytes):
            return prepared(_read(found), self.key(index))
        if not isinstance(found, str):
            raise InputError("no audio", where=self.key(index), allowed="a column " + ", ".join(AUDIO_COLUMNS))
        folder = self._path if self._path.is_dir() else self._path.parent
        candidates = [Path(found), folder / found, folder.parent / found]
        file = next((path for path in candidates if path.is_file()), candidates[0])
        return recording(file)


class Datasets(_Rows):
    """The arrow files of `save_to_disk`, read without the `datasets` package."""

    def __init__(self, settings: DatasetsSettings) -> None:
        super().__init__(settings.path)
        self._files = sorted(settings.path.glob("*.arrow")) or sorted(settings.path.glob("train/*.arrow"))
        if not self._files:
            allowed = "a folder written by `save_to_disk`, with .arrow files"
            raise InputError("no data set", where=str(settings.path), allowed=allowed)

    @cached_property
    def _table(self) -> Any:
        import pyarrow as pa

        try:
            return pa.concat_tables([pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in self._files])
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"not readable: {error}", where=str(self._path)) from None


class Parquet(_Rows):
    """Parquet files, as bulk jobs write them."""

    def __init__(self, settings: ParquetSettings) -> None:
        super().__init__(settings.path)
        found = [settings.path] if settings.path.is_file() else sorted(settings.path.rglob("*.parquet"))
        if not found:
            raise InputError("no parquet files", where=str(settings.path))
        self._files = found

    @cached_property
    def _table(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet

        try:
            tables = [pa.parquet.read_table(file) for file in self._files]
            return pa.concat_tables(tables, promote_options="permissive")
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"not readable: {error}", where=str(self._path)) from None


class Synthesis(Source):
    """Pieces by seed. Every choice of a song follows from the source's seed and the song's number."""

    def __init__(self, settings: SynthesisSettings) -> None:
        self._settings = settings

    def __len__(self) -> int:
        return self._settings.count

    def key(self, index: int) -> str:
        return f"synthetic-{self._settings.seed}-{index}"

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


def split_tags(text: str) -> tuple[str, ...]:
    """Comma-separated tags as a list."""
    return tuple(filter(None, (tag.strip() for tag in text.replace("\n", ",").split(","))))


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


def recording(file: Path, *, silent: bool = False) -> Audio:
    """An audio file as training takes it; `silent` ones are refused unless allowed, as stems may rest."""
    return prepared(_read(file), str(file), silent=silent)


def prepared(audio: Audio, where: str, *, silent: bool = False) -> Audio:
    """Stereo at 48 kHz in -1..1, at least 3 s long, the first 240 s (spec 05 section 1.2).

    Raises:
        InputError: nearly all of it is silence.
    """
    from acestep_flows.audio.resample import resample, stereo

    longest = int((MAX_SECONDS + 1) * audio.sample_rate)
    cut = stereo(Audio(audio.samples[:2, :longest], audio.sample_rate))
    samples: FloatArray = resample(cut.samples, audio.sample_rate, OUTPUT_RATE).clip(-1, 1)
    missing = MIN_SECONDS * OUTPUT_RATE - samples.shape[1]
    if missing > 0:
        samples = np.pad(samples, ((0, 0), (0, missing)))
    if not silent and float((samples == 0).all(axis=0).mean()) > SILENT_SHARE:
        raise InputError("silent", where=where, allowed=f"less than {SILENT_SHARE:.0%} of it silence")
    return Audio(samples[:, : int(MAX_SECONDS * OUTPUT_RATE)], OUTPUT_RATE)


def _read(source: Path | bytes) -> Audio:
    from acestep_flows.audio import read

    return read.audio(source)


def _text(file: Path, ending: str) -> str:
    path = file.with_name(file.stem + ending)
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise InputError(
            f"no {path.name}", where=str(file), allowed="tags and lyrics in files beside the audio"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} cannot be read: {error}", where=str(file)) from None


def _given(row: Mapping[str, Any]) -> dict[str, Any]:
    """Tags and lyrics of a row: columns of their own, or the inputs of a bulk job's row."""
    inputs = row.get("inputs_json") or row.get("inputs")
    if isinstance(inputs, str):
        try:
            inputs = json.loads(inputs)
        except ValueError:
            inputs = None
    return {**(inputs if isinstance(inputs, Mapping) else {}), **{k: v for k, v in row.items() if v is not None}}


def _escaped(name: str) -> str:
    from glob import escape

    return escape(name)
