"""Reading of audio files from users (spec 04 section 1): float samples at the file's own rate, as mono or stereo.

A file may declare a wrong length, be truncated, or not be audio at all. `containers` finds out what it really holds.
`decoding` decodes it block by block in a process that can be stopped, so memory is never allocated for a declared
length, and every failure is an error of one line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from acestep_flows.audio import containers
from acestep_flows.audio.containers import ALLOWED
from acestep_flows.audio.containers.container import TOLERANCE, Container, Missing, Part
from acestep_flows.audio.decoding import DamagedError, Decoding, DecodingError, decoding
from acestep_flows.audio.downmix import Downmix
from acestep_flows.audio.resample import LISTENING_FILTER, resample
from acestep_flows.errors import InputError
from acestep_flows.values import Audio, FloatArray

LONGEST_SECONDS = 3600.0
LARGEST_DECODED = 2**31  # bytes of fp32 samples, all channels
MOST_CHANNELS = 64  # as values.Audio
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # as values.Audio
UNKNOWN_FRAMES = 2**40
FIRST_FRAMES = 1 << 18

Source = str | os.PathLike[str] | bytes
Receive = Callable[[FloatArray], None]


@dataclass(frozen=True)
class Description:
    """What an audio file holds.

    Attributes:
        format: wav, flac, mp3, ogg, aiff or caf.
        samples: in each channel.
        sample_rate: in Hz.
        channels: 1 or 2; more are mixed down.
        notes: what was changed as it was read.
    """

    format: str
    samples: int
    sample_rate: int
    channels: int
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def audio(source: Source, *, name: str | None = None, longest: float = LONGEST_SECONDS) -> Audio:
    """Read `source`, a path or the bytes of a file.

    More than two channels are mixed down to stereo, and `Audio.notes` says so.

    Args:
        source: a wav, flac, mp3, ogg, aiff or caf file.
        name: the name of the source, for errors; by default its path.
        longest: the longest accepted duration in seconds.

    Raises:
        InputError: the file is missing, not audio, empty, truncated or too long, or has NaN or infinite samples.
    """
    parts: list[tuple[FloatArray, int]] = []
    where = _name(source, name)
    with opened(source, where) as file:
        reading = _Reading(file, where, longest, LARGEST_DECODED, _path(source, name))
        for part in reading.container.parts:
            collected = _Samples()
            rate = reading.part(part, collected.add, collected.expect)
            parts.append((collected.taken(), rate))
        reading.check()
    return Audio(_joined(parts), parts[0][1], reading.notes)


def describe(
    source: Source, *, name: str | None = None, longest: float = LONGEST_SECONDS, largest: int = LARGEST_DECODED
) -> Description:
    """Decode the whole of `source` as `audio` does, without keeping it.

    Args:
        largest: most accepted bytes of decoded samples.

    Raises:
        InputError: as `audio`.
    """
    where = _name(source, name)
    with opened(source, where) as file:
        reading = _Reading(file, where, longest, largest, _path(source, name))
        rates = [reading.part(part, lambda block: None) for part in reading.container.parts]
        reading.check()
    samples = round(reading.seconds * rates[0])
    return Description(reading.container.format, samples, rates[0], reading.channels, reading.notes)


def opened(source: Source, where: str) -> BinaryIO:
    """The bytes of `source` as a stream. The caller must close it.

    Args:
        where: the source's name for errors.

    Raises:
        InputError: the source cannot be opened, is not a plain file, or is empty.
    """
    if isinstance(source, bytes):
        stream: BinaryIO = BytesIO(source)
    else:
        try:
            path = Path(source)
            if path.exists() and not path.is_file():  # a folder, or a device or pipe that may never end
                raise InputError("not a plain file", where=where, allowed=ALLOWED)
            stream = path.open("rb")
        except OSError as error:
            raise InputError(f"cannot be opened: {error.strerror}", where=where, allowed=ALLOWED) from error
    if stream.seek(0, SEEK_END) == 0:
        stream.close()
        raise InputError("empty file", where=where, allowed=ALLOWED)
    stream.seek(0)
    return stream


class _Reading:
    """The way of one file through the decoder.

    Attributes:
        seconds: of all that was decoded.
        channels: most of a part, after mixing down.
        notes: what was changed.
    """

    def __init__(self, file: BinaryIO, where: str, longest: float, largest: int, path: str) -> None:
        self._file, self._where, self._longest, self._largest = file, where, longest, largest
        self.container: Container = containers.examine(file, where, path)
        self.seconds, self.channels, self.notes = 0.0, 0, tuple[str, ...]()
        self._bytes = self._invalid = 0
        self._missing: Missing | None = self.container.missing

    def part(self, part: Part, receive: Receive, expect: Callable[[int], None] = lambda frames: None) -> int:
        """Decode one part, block by block.

        Args:
            receive: gets each block (n, channels).
            expect: gets the number of samples in each channel, where it is known before.

        Returns:
            The sample rate.
        """
        with self._decoding(part) as decoder:
            sound = decoder.information
            declared = part.samples or (sound.frames if sound.frames < UNKNOWN_FRAMES else 0)
            self._check_declared(declared, sound.sample_rate, sound.channels)
            downmix = Downmix(sound.channels, self.container.speakers, self.container.format)
            self.channels = max(self.channels, downmix.channels)
            self.notes += tuple(note for note in downmix.notes if note not in self.notes)
            expect(declared)
            frames = 0
            try:
                for block in decoder.blocks():
                    frames += len(block)
                    mixed = downmix(block)
                    self._invalid += mixed.size - int(np.isfinite(mixed).sum())
                    self._bytes += block.nbytes
                    self._check_decoded(frames / sound.sample_rate)
                    receive(mixed)
            except DamagedError as error:
                if not part.samples:  # else the header says how much is missing
                    seconds = self.seconds + frames / sound.sample_rate
                    what = f"not readable as audio after {seconds:.2f} s: {error}"
                    raise InputError(what, where=self._where, allowed=ALLOWED) from error
            self.seconds += frames / sound.sample_rate
            if part.samples and (part.samples - frames) / sound.sample_rate > TOLERANCE:
                self._missing = Missing((part.samples - frames) / sound.sample_rate)
            return sound.sample_rate

    def check(self) -> None:
        """Refuse what is not whole.

        Raises:
            InputError: the file is truncated, or has no samples or invalid ones.
        """
        if self._missing is not None:
            raise InputError(self._truncated(self._missing), where=self._where, allowed="a complete file")
        if self.seconds == 0:
            raise InputError("no samples", where=self._where, allowed="at least one sample")
        if self._invalid:
            raise InputError(
                f"{self._invalid} samples are NaN or infinite", where=self._where, allowed="finite samples"
            )

    def _truncated(self, missing: Missing) -> str:
        if missing.seconds is None:
            return f"truncated after {self.seconds:.2f} s, within a page"
        least = "at least " if missing.at_least else ""
        return f"truncated after {self.seconds:.2f} s; {least}{missing.seconds:.2f} s are missing"

    @contextmanager
    def _decoding(self, part: Part) -> Iterator[Decoding]:
        """A decoder on the part. Its errors become `InputError`."""
        try:
            with decoding(self._file, part.content) as decoder:
                yield decoder
        except DecodingError as error:
            if self._missing is not None and self.seconds == 0:
                raise InputError("truncated after 0.00 s", where=self._where, allowed="a complete file") from error
            raise InputError(f"not readable as audio: {error}", where=self._where, allowed=ALLOWED) from error

    def _check_declared(self, frames: int, rate: int, channels: int) -> None:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise InputError(f"{rate} Hz", where=self._where, allowed=f"{LOWEST_RATE} to {HIGHEST_RATE} Hz")
        if channels > MOST_CHANNELS:
            raise InputError(f"{channels} channels", where=self._where, allowed=f"1 to {MOST_CHANNELS} channels")
        if frames > self._longest * rate:
            self._refuse_long(frames / rate)
        if frames * channels * 4 > self._largest:
            size = f"{frames} samples in each of {channels} channels"
            raise InputError(size, where=self._where, allowed=f"{self._largest >> 20} MB of decoded samples")

    def _check_decoded(self, seconds: float) -> None:
        """The same for files that do not declare their length, or a wrong one."""
        if self.seconds + seconds > self._longest:
            self._refuse_long(self.seconds + seconds, "more than ")
        if self._bytes > self._largest:
            allowed = f"{self._largest >> 20} MB of decoded samples"
            raise InputError("too much audio once decoded", where=self._where, allowed=allowed)

    def _refuse_long(self, seconds: float, least: str = "") -> None:
        raise InputError(f"{least}{seconds:.0f} s long", where=self._where, allowed=f"up to {self._longest:g} s")


class _Samples:
    """Collects blocks in one array. Where the length is known before, nothing is ever copied again."""

    def __init__(self) -> None:
        self._array = np.zeros((0, 0), np.float32)
        self._count = self._expected = 0

    def expect(self, frames: int) -> None:
        self._expected = frames

    def add(self, block: FloatArray) -> None:
        end = self._count + len(block)
        if end > self._array.shape[1]:
            room = max(end, self._expected if not self._count else 2 * self._count, FIRST_FRAMES)
            grown = np.empty((block.shape[1], room), np.float32)
            if self._count:
                grown[:, : self._count] = self._array[:, : self._count]
            self._array = grown
        self._array[:, self._count : end] = block.T
        self._count = end

    def taken(self) -> FloatArray:
        """All of them (channels, n)."""
        array = self._array
        self._array = np.zeros((0, 0), np.float32)
        return array if array.shape[1] == self._count else array[:, : self._count].copy()


def _joined(parts: list[tuple[FloatArray, int]]) -> FloatArray:
    """Parts one after another, at the rate of the first; in stereo, unless all are mono."""
    if len(parts) == 1:
        return parts[0][0]
    channels = max(len(samples) for samples, _ in parts)
    same = [resample(samples, rate, parts[0][1], LISTENING_FILTER) for samples, rate in parts if samples.size]
    return np.concatenate([np.broadcast_to(samples, (channels, samples.shape[1])) for samples in same], axis=1)


def _path(source: Source, name: str | None) -> str:
    return "" if isinstance(source, bytes) or name else str(source)


def _name(source: Source, name: str | None) -> str:
    return name or ("audio" if isinstance(source, bytes) else str(source))
