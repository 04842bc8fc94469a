"""Clips to train the audio parts on: stereo at 44.1 kHz, synthetic or cut from a folder of audio.

Clips are made once and kept on disk as 16-bit samples, one file each, so that a step costs a read and not a render.
Clip `i` follows from the settings and `i` alone: whoever needs it first makes it, the trainer or one of the worker
processes that run ahead of it, and several runs may share a folder. Training draws from a set that grows with the
step, so it need not wait for the last clip.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.settings import read_settings
from acestep_flows.training.loop.content_stamp import joined, stamp
from acestep_flows.training.loop.recipe import RecipeSection
from acestep_flows.values import MODEL_RATE, Audio, FloatArray

log = logging.getLogger(__name__)

FULL_SCALE = 32767
AT_FIRST, PER_BATCH = 64, 4
"""Clips in the set before the first batch, and how many each batch adds to it."""
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".aiff")
SILENT_SHARE = 0.95
"""A cut with more exact zeros than this is passed over (spec 05 section 1.2)."""
ROUNDS = 4
"""How often each file is tried for a clip: where one place is silent, another may not be."""


class ClipSettings(RecipeSection):
    """Where clips come from."""

    kind: Literal["synthesis", "folder"] = Field("synthesis", description="Synthetic clips, or cuts of audio files.")
    folder: Path | None = Field(None, description="Folder: where the audio files lie, at any depth.")
    clips: int = Field(4000, gt=0, description="How many different clips.")
    held_out: int = Field(16, gt=0, description="Clips beside them, for measuring only.")
    seconds: float = Field(8.9, ge=3, le=60, description="Length of a clip.")
    stems: float = Field(0.4, ge=0, le=1, description="Synthesis: share of clips that are a single stem, not the mix.")
    seed: int = Field(0, ge=0, description="Which clips; the recipe's own seed says in which order.")
    workers: int = Field(1, ge=0, description="Processes that make clips ahead of need.")
    cache: Path | None = Field(None, description="Folder for made clips; absent: in the cache folder.")

    @model_validator(mode="after")
    def _fits(self) -> ClipSettings:
        if (self.folder is None) == (self.kind == "folder"):
            raise ValueError("`folder` belongs to kind folder, and to no other")
        return self

    @property
    def samples(self) -> int:
        """Length of a clip in samples."""
        return round(self.seconds * MODEL_RATE)

    @property
    def digest(self) -> str:
        """Of what decides clip `i`: the settings, and the files or the synthesis as they are now."""
        content = self.model_dump(mode="json", include={"kind", "seconds", "stems", "seed"}) | {"from": self.content}
        if self.folder is not None:
            content["folder"] = str(self.folder.resolve())
        return joined(content)

    @property
    def content(self) -> str:
        """Of what clips are made from, wherever it lies: names, sizes and times of the files, or the synthesis."""
        if self.folder is None:
            from acestep_flows.training.synthesis import VERSION

            return f"synthesis {VERSION}"
        return stamp(self.folder, _audio_files(self.folder))


class _Cut(NamedTuple):
    """A place in a clip, its factor, and whether left and right change places."""

    clip: int
    start: int
    gain: float
    swapped: bool


class ClipSource:
    """The clips of `settings`. Clips from `clips` on are held out."""

    def __init__(self, settings: ClipSettings) -> None:
        self.settings = settings
        self._make = maker(settings)
        root = settings.cache or read_settings().cache / "training"
        self.folder = root / f"clips-{settings.digest[:16]}"

    @property
    def behind(self) -> dict[str, str]:
        """What clips are made from, for `Task.content`."""
        return {f"source.{self.settings.kind}": self.settings.content}

    def clip(self, index: int) -> NDArray[np.int16]:
        """Clip `index`, (2, n); memory-mapped, so that a cut reads only itself."""
        file = self._file(index)
        with contextlib.suppress(OSError, ValueError, EOFError):  # absent, or spoilt: made anew
            kept: NDArray[np.int16] = np.load(file, mmap_mode="r")
            return kept
        made = np.round(self._make(index).clip(-1, 1) * FULL_SCALE).astype(np.int16)
        content = io.BytesIO()
        np.save(content, made)
        storage.write(file, content.getbuffer())
        return made

    def cuts(self, seed: int, batch: int, count: int, samples: int) -> FloatArray:
        """Random cuts (count, 2, samples) for batch number `batch`: places, level and sides drawn from `seed`."""
        found = np.zeros((count, 2, samples), np.float32)
        for row, cut in zip(found, self._drawn(seed, batch, count, samples), strict=True):
            sound = self.clip(cut.clip)[:, cut.start : cut.start + samples].astype(np.float32) / FULL_SCALE
            row[:, : sound.shape[1]] = cut.gain * (sound[::-1] if cut.swapped else sound)
        return found

    def describe(self, seed: int, batch: int, count: int, samples: int) -> str:
        """Which clips the cuts of a batch are from."""
        numbers = sorted({cut.clip for cut in self._drawn(seed, batch, count, samples)})
        return f"cuts of clips {', '.join(map(str, numbers))} in {self.folder}"

    def _drawn(self, seed: int, batch: int, count: int, samples: int) -> Iterator[_Cut]:
        rng = np.random.default_rng([seed, batch])
        grown = min(self.settings.clips, AT_FIRST + PER_BATCH * batch)
        for _ in range(count):
            clip = int(rng.integers(grown))
            start = int(rng.integers(max(1, self.settings.samples - samples)))
            gain = 10 ** (rng.uniform(-12, 0) / 20) if rng.random() < 0.3 else 1.0
            yield _Cut(clip, start, gain, bool(rng.random() < 0.5))

    def held_out(self, count: int | None = None) -> list[FloatArray]:
        """Clips that no batch draws from, each (2, n)."""
        first = self.settings.clips
        wanted = range(first, first + min(count or self.settings.held_out, self.settings.held_out))
        return [self.clip(index).astype(np.float32) / np.float32(FULL_SCALE) for index in wanted]

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Worker processes make the clips, in the order they are needed, while the body runs."""
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(target=_fill, args=(self.settings, rank, os.getpid()), daemon=True)
            for rank in range(self.settings.workers)
        ]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join()

    def _file(self, index: int) -> Path:
        return self.folder / f"{index // 1000:03d}" / f"{index:07d}.npy"

    def missing(self, index: int) -> bool:
        """Whether clip `index` has not been made yet."""
        return not self._file(index).is_file()


def _fill(settings: ClipSettings, rank: int, parent: int) -> None:
    """What a worker process does: make the clips that are not there. It ends with its parent."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole group; the parent ends us
    with contextlib.suppress(OSError):
        os.nice(10)
    source = ClipSource(settings)
    first, last = min(AT_FIRST, settings.clips), settings.clips + settings.held_out
    for index in [*range(first), *range(settings.clips, last), *range(first, settings.clips)][rank :: settings.workers]:
        if os.getppid() != parent:
            return
        if source.missing(index):
            source.clip(index)


def maker(settings: ClipSettings) -> Callable[[int], FloatArray]:
    """What makes clip `i` (2, n)."""
    return _FolderClips(settings) if settings.kind == "folder" else _SynthesisClips(settings)


class _SynthesisClips:
    """Mixes, and single stems of others."""

    def __init__(self, settings: ClipSettings) -> None:
        self._settings = settings

    def __call__(self, index: int) -> FloatArray:
        from acestep_flows.training.synthesis import compose, render

        settings = self._settings
        rng = np.random.default_rng([settings.seed, index])
        piece = render(compose(int(rng.integers(2**62)), seconds=settings.seconds))
        sound = piece.mix
        if piece.stems and rng.random() < settings.stems:
            sound = piece.stems[sorted(piece.stems)[int(rng.integers(len(piece.stems)))]]
        return _fitted(sound, settings.samples)


class _FolderClips:
    """Cuts of audio files. Those that cannot be used are said once, and passed over.

    The files are tried in an order of the clip's own until a cut is audible, so that what has been found of files for
    other clips changes nothing.
    """

    def __init__(self, settings: ClipSettings) -> None:
        assert settings.folder is not None
        self._settings, self._folder = settings, settings.folder
        self._files = _audio_files(settings.folder)
        self._unreadable: set[Path] = set()
        self._told: set[Path] = set()

    def __call__(self, index: int) -> FloatArray:
        seed, count = self._settings.seed, len(self._files)
        order = np.random.default_rng([seed, index]).permutation(count)
        for attempt in range(ROUNDS * count):
            file = self._files[order[attempt % count]]
            if file in self._unreadable:
                continue
            try:
                audio = self._read(file)
            except InputError as error:
                self._unreadable.add(file)
                self._tell(file, error)
                continue
            cut = self._cut(audio, np.random.default_rng([seed, index, attempt]))
            if float(np.mean(cut == 0)) <= SILENT_SHARE:
                from acestep_flows.audio.resample import resample

                return _fitted(resample(cut, audio.sample_rate, MODEL_RATE), self._settings.samples)
            self._tell(file, InputError("silent", where=str(file), allowed="audible audio"))
        raise InputError(f"none of {count} audio files can be used", where=str(self._folder))

    def _read(self, file: Path) -> Audio:
        from acestep_flows.audio import read
        from acestep_flows.audio.resample import stereo

        return stereo(read.audio(file))

    def _cut(self, audio: Audio, rng: np.random.Generator) -> FloatArray:
        span = math.ceil(self._settings.seconds * audio.sample_rate)
        start = int(rng.integers(max(1, audio.samples.shape[1] - span)))
        return audio.samples[:, start : start + span]

    def _tell(self, file: Path, error: InputError) -> None:
        if file not in self._told:
            self._told.add(file)
            log.warning("left out: %s", error)


def _audio_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder))
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError("no audio files", where=str(folder), allowed=", ".join(SUFFIXES))
    return files


def _fitted(sound: NDArray[Any], samples: int) -> FloatArray:
    """`sound` cut or zero-padded to `samples`."""
    fitted = np.zeros((2, samples), np.float32)
    kept = sound[:, :samples]
    fitted[:, : kept.shape[1]] = kept
    return fitted
