"""Clips that the autoencoder and the vocoder are trained on: stereo at 44.1 kHz, synthetic or cut from audio files.

Each clip is made once and stored as 16-bit samples in a file of its own, so a training step reads instead of renders.
Clip `i` depends on the settings and on `i` alone. The first process that needs a clip makes it: the trainer, or a
worker process that runs ahead of it. Several runs may share a folder. Training draws from a set that grows with the
step, so it does not wait for the last clip.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.settings import read_settings
from acestep_flows.training.data.npy_file import mapped
from acestep_flows.training.data.song import SILENT_SHARE, list_audio_files
from acestep_flows.training.loop.content_stamp import json_digest, stamp_by_time, stamp_files
from acestep_flows.training.loop.recipe import RecipeSection
from acestep_flows.values import MODEL_RATE, Audio, FloatArray

log = logging.getLogger(__name__)

FULL_SCALE = 32767
AT_FIRST, PER_BATCH = 64, 4
"""Clips in the set before the first batch, and clips that each batch adds to it."""
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".aiff")
ATTEMPTS_PER_FILE = 4
"""Cuts tried per file for one clip: a file may be silent in one place and audible in another."""


class ClipSettings(RecipeSection):
    """The `source` section: which clips there are, and where they are stored."""

    kind: Literal["synthesis", "folder"] = Field("synthesis", description="Synthetic clips, or cuts of audio files.")
    folder: Path | None = Field(None, description="kind folder: the folder of the audio files, searched at any depth.")
    clips: int = Field(4000, gt=0, description="Number of different clips.")
    held_out: int = Field(16, gt=0, description="Number of further clips, for measuring only.")
    seconds: float = Field(8.9, ge=3, le=60, description="Length of a clip in seconds.")
    stems: float = Field(0.4, ge=0, le=1, description="kind synthesis: share of clips that are one stem.")
    seed: int = Field(0, ge=0, description="Decides the clips; the recipe's seed decides their order.")
    workers: int = Field(1, ge=0, description="Processes that make clips in advance.")
    cache: Path | None = Field(None, description="Folder of stored clips; absent: in the cache folder.")

    @model_validator(mode="after")
    def _fits(self) -> ClipSettings:
        if (self.folder is None) == (self.kind == "folder"):
            raise ValueError("kind folder needs `folder`, and kind synthesis does not take it")
        return self

    @property
    def samples(self) -> int:
        """Samples of a clip per channel, at 44.1 kHz."""
        return round(self.seconds * MODEL_RATE)

    @property
    def digest(self) -> str:
        """sha256 of all that decides clip `i`: the settings, and the files or the synthesis version."""
        return self._digest(self.content)

    @property
    def former_digest(self) -> str:
        """The digest that 0.1.0 gave these clips."""
        return self._digest(self.former_content)

    @property
    def content(self) -> str:
        """What clips are made from: sha256 of names and contents of files, or the version of the synthesis."""
        return self._stamped(stamp_files)

    @property
    def former_content(self) -> str:
        """The content as 0.1.0 had it: by names, sizes and times of files."""
        return self._stamped(stamp_by_time)

    def _digest(self, content: str) -> str:
        parts = self.model_dump(mode="json", include={"kind", "seconds", "stems", "seed"}) | {"from": content}
        if self.folder is not None:
            parts["folder"] = str(self.folder.resolve())
        return json_digest(parts)

    def _stamped(self, stamp: Callable[[Path, Iterable[Path]], str]) -> str:
        if self.folder is None:
            from acestep_flows.training.synthesis import VERSION

            return f"synthesis {VERSION}"
        return stamp(self.folder, list_audio_files(self.folder, SUFFIXES))


class _Cut(NamedTuple):
    """A cut of a clip: first sample, gain as a factor, and whether left and right are swapped."""

    clip: int
    start: int
    gain: float
    swapped: bool


class ClipSource:
    """The clips of `settings`, made on demand. Clips from number `settings.clips` on are held out.

    Args:
        folder: where they are stored, for a process that works for another; None is as the settings say.
    """

    def __init__(self, settings: ClipSettings, folder: Path | None = None) -> None:
        self.settings = settings
        self._make = maker(settings)
        self.folder = folder or _stored(settings)

    @property
    def content(self) -> dict[str, str]:
        """Digest of what clips are made from, by recipe key, for `Task.content`."""
        return {f"source.{self.settings.kind}": self.settings.content}

    @property
    def former_content(self) -> dict[str, str]:
        """The same for `Task.former_content`."""
        return {f"source.{self.settings.kind}": self.settings.former_content}

    def clip(self, index: int) -> NDArray[np.int16]:
        """Clip `index` as 16-bit samples (2, n). It is memory-mapped, so a cut reads only its own samples.

        Raises:
            InputError: none of the audio files can be used.
            StorageError: a new clip cannot be written.
        """
        file = self._file(index)
        with contextlib.suppress(OSError, ValueError):  # absent or damaged: make it again
            return mapped(file)
        samples = np.round(self._make(index).clip(-1, 1) * FULL_SCALE).astype(np.int16)
        content = io.BytesIO()
        np.save(content, samples)
        storage.write(file, content.getbuffer())
        return samples

    def cuts(self, seed: int, batch: int, count: int, samples: int) -> FloatArray:
        """Random cuts (count, 2, samples) in -1..1 for batch number `batch`.

        `seed` and `batch` decide the clips, the places, the gains and which cuts have left and right swapped.
        """
        rows = np.zeros((count, 2, samples), np.float32)
        for row, cut in zip(rows, self._draw(seed, batch, count, samples), strict=True):
            sound = self.clip(cut.clip)[:, cut.start : cut.start + samples].astype(np.float32) / FULL_SCALE
            row[:, : sound.shape[1]] = cut.gain * (sound[::-1] if cut.swapped else sound)
        return rows

    def describe(self, seed: int, batch: int, count: int, samples: int) -> str:
        """The clips of a batch in words, for error texts."""
        numbers = sorted({cut.clip for cut in self._draw(seed, batch, count, samples)})
        return f"cuts of clips {', '.join(map(str, numbers))} in {self.folder}"

    def _draw(self, seed: int, batch: int, count: int, samples: int) -> Iterator[_Cut]:
        rng = np.random.default_rng([seed, batch])
        available = min(self.settings.clips, AT_FIRST + PER_BATCH * batch)
        for _ in range(count):
            clip = int(rng.integers(available))
            start = int(rng.integers(max(1, self.settings.samples - samples)))
            gain = 10 ** (rng.uniform(-12, 0) / 20) if rng.random() < 0.3 else 1.0
            yield _Cut(clip, start, gain, bool(rng.random() < 0.5))

    def held_out(self, count: int | None = None) -> list[FloatArray]:
        """The first `count` held-out clips (all by default), each (2, n) in -1..1. No batch draws from them."""
        first = self.settings.clips
        numbers = range(first, first + min(count or self.settings.held_out, self.settings.held_out))
        return [self.clip(index).astype(np.float32) / np.float32(FULL_SCALE) for index in numbers]

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Worker processes make the clips, in the order they are needed, while the body runs."""
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(target=_fill, args=(self.settings, self.folder, rank, os.getpid()), daemon=True)
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


def _stored(settings: ClipSettings) -> Path:
    """The folder of clips. One of 0.1.0 is taken over, under the name that its content has now."""
    root = settings.cache or read_settings().cache / "training"
    folder = root / f"clips-{settings.digest[:16]}"
    if not folder.exists():
        with contextlib.suppress(OSError):  # there is none, or another process took it over
            (root / f"clips-{settings.former_digest[:16]}").rename(folder)
    return folder


def _fill(settings: ClipSettings, folder: Path, rank: int, parent: int) -> None:
    """Make this worker's share of the missing clips. Ends when the parent process has ended."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole process group; the parent ends its workers
    with contextlib.suppress(OSError):
        os.nice(10)
    source = ClipSource(settings, folder)
    first, last = min(AT_FIRST, settings.clips), settings.clips + settings.held_out
    for index in [*range(first), *range(settings.clips, last), *range(first, settings.clips)][rank :: settings.workers]:
        if os.getppid() != parent:
            return
        if source.missing(index):
            source.clip(index)


def maker(settings: ClipSettings) -> Callable[[int], FloatArray]:
    """The function that makes clip `i`, (2, n) at 44.1 kHz in float32."""
    return _FolderClips(settings) if settings.kind == "folder" else _SynthesisClips(settings)


class _SynthesisClips:
    """Mixes of synthetic pieces, and single stems of other pieces."""

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
        return _fit(sound, settings.samples)


class _FolderClips:
    """Cuts of audio files. A file that cannot be used is logged once and skipped.

    Each clip tries the files in an order of its own until a cut is audible. So a clip does not depend on which files
    other clips have found unusable.
    """

    def __init__(self, settings: ClipSettings) -> None:
        assert settings.folder is not None
        self._settings, self._folder = settings, settings.folder
        self._files = list_audio_files(settings.folder, SUFFIXES)
        self._unreadable: set[Path] = set()
        self._logged: set[Path] = set()

    def __call__(self, index: int) -> FloatArray:
        seed, count = self._settings.seed, len(self._files)
        order = np.random.default_rng([seed, index]).permutation(count)
        for attempt in range(ATTEMPTS_PER_FILE * count):
            file = self._files[order[attempt % count]]
            if file in self._unreadable:
                continue
            try:
                audio = self._read(file)
            except InputError as error:
                self._unreadable.add(file)
                self._log_once(file, error)
                continue
            cut = self._cut(audio, np.random.default_rng([seed, index, attempt]))
            if float(np.mean(cut == 0)) <= SILENT_SHARE:
                from acestep_flows.audio.resample import resample

                return _fit(resample(cut, audio.sample_rate, MODEL_RATE), self._settings.samples)
            self._log_once(file, InputError("silent", where=str(file), allowed="audible audio"))
        raise InputError(f"none of {count} audio files can be used", where=str(self._folder))

    def _read(self, file: Path) -> Audio:
        from acestep_flows.audio import read
        from acestep_flows.audio.resample import stereo

        return stereo(read.audio(file))

    def _cut(self, audio: Audio, rng: np.random.Generator) -> FloatArray:
        span = math.ceil(self._settings.seconds * audio.sample_rate)
        start = int(rng.integers(max(1, audio.samples.shape[1] - span)))
        return audio.samples[:, start : start + span]

    def _log_once(self, file: Path, error: InputError) -> None:
        if file not in self._logged:
            self._logged.add(file)
            log.warning("left out: %s", error)


def _fit(sound: NDArray[Any], samples: int) -> FloatArray:
    """`sound` (2, n) cut or zero-padded to (2, samples)."""
    fitted = np.zeros((2, samples), np.float32)
    cut = sound[:, :samples]
    fitted[:, : cut.shape[1]] = cut
    return fitted
