"""The values that travel between stages: numpy arrays in frozen dataclasses, one song each, no batch axis.

Every value checks shape, rate and unit when it is made, and has a digest over its content and a size in bytes, each
computed once. Caching and provenance use the digest. `pack` and `unpack` turn it into arrays and JSON and back.

Units (spec 01 section 2): one latent frame is 4096 samples at 44.1 kHz (10.7666 per second), one mel frame is 512.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from acestep_flows.errors import InputError

Compatibility = Literal["corrected", "upstream"]
"""`corrected` is the default; `upstream` reproduces what the original was recorded to do, defects included."""

MODEL_RATE = 44_100
OUTPUT_RATE = 48_000
MEL_HOP = 512
MEL_BANDS = 128
LATENT_CHANNELS = 8
LATENT_HEIGHT = 16
MEL_FRAMES_PER_LATENT = 8
SAMPLES_PER_FRAME = MEL_HOP * MEL_FRAMES_PER_LATENT
MAX_SECONDS = 240.0
MAX_SEED = 2**32 - 1

LEFT_OUT_IF_EMPTY = "left_out_if_empty"
"""Metadata of a value's field that came later: empty, it does not change the digests of earlier values."""

MUSIC, MUSIC_KINDS = "music", ("audio", "latents")
"""The name of the type, not kind, of what holds a song, and the kinds of value that do."""

FloatArray = NDArray[np.float32]


def frames_from_seconds(seconds: float) -> int:
    """Latent frames in `seconds`, truncated toward zero (spec 01 section 2, evaluated left to right)."""
    return math.trunc(seconds * MODEL_RATE / MEL_HOP / MEL_FRAMES_PER_LATENT)


def seconds_from_frames(frames: int) -> float:
    """Seconds that `frames` latent frames last; `frames_from_seconds` gives the same frames back."""
    seconds = frames * SAMPLES_PER_FRAME / MODEL_RATE
    # For one length in twelve the rounded quotient lies a hair short of the frame's edge.
    if frames_from_seconds(seconds) != frames:
        seconds = math.nextafter(seconds, math.copysign(math.inf, frames))
    return seconds


@dataclass(frozen=True, eq=False)
class Value:
    """Base of all values. Equal content means equal digest, and values compare by digest."""

    kind: ClassVar[str] = ""
    kinds: ClassVar[dict[str, type[Value]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in vars(cls):  # a subclass of a kind, such as a song, stays of that kind
            Value.kinds[cls.kind] = cls

    @property
    def digest(self) -> str:
        """sha256 (hex) over kind, shapes, dtypes and content; computed once."""
        return self._stamp[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, plus the length of the other fields as JSON; computed once."""
        return self._stamp[1]

    @cached_property
    def _stamp(self) -> tuple[str, int]:
        """Digest and size, from one walk over the content."""
        arrays, fields = pack(self)
        fields_json = canonical_json(fields)
        hasher = hashlib.sha256(f"[{canonical_json(self.kind)},{fields_json}]".encode("utf-8", "surrogatepass"))
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            hasher.update(canonical_json([name, array.dtype.str, array.shape]).encode())
            hasher.update(array.data)
        return hasher.hexdigest(), sum(array.nbytes for array in arrays.values()) + len(fields_json)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _array(self, name: str, dtype: type, *shape: int | str, finite: bool = True) -> None:
        """Coerce field `name` to a read-only `dtype` array of `shape` (a name: any size) or refuse it."""
        content = np.asarray(getattr(self, name))
        if content.dtype.kind not in "fiub":
            raise InputError(f"dtype {content.dtype}", where=f"{self.kind}.{name}", allowed="numbers")
        array: NDArray[Any] = content.astype(dtype, copy=False)
        if array.ndim != len(shape) or any(
            isinstance(want, int) and got != want for got, want in zip(array.shape, shape, strict=True)
        ):
            allowed = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
            raise InputError(f"shape {array.shape}", where=f"{self.kind}.{name}", allowed=allowed)
        if finite and not np.isfinite((array.min(initial=0), array.max(initial=0))).all():  # copies nothing; has NaN
            raise InputError("NaN or infinity", where=f"{self.kind}.{name}", allowed="finite numbers")
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        self._set(name, array)


@dataclass(frozen=True, eq=False)
class Audio(Value):
    """A waveform: samples (channels, n) in -1..1 nominal (not clipped), `sample_rate` in Hz, `notes` of its reading."""

    kind = "audio"
    samples: FloatArray
    sample_rate: int
    notes: tuple[str, ...] = dataclasses.field(default=(), metadata={LEFT_OUT_IF_EMPTY: True})

    def __post_init__(self) -> None:
        self._set("notes", tuple(self.notes))
        self._array("samples", np.float32, "channels", "samples")
        if not 1 <= self.samples.shape[0] <= 64:
            raise InputError(f"{self.samples.shape[0]} channels", where="audio.samples", allowed="1 to 64 channels")
        if not 1000 <= self.sample_rate <= 768_000:
            raise InputError(f"{self.sample_rate} Hz", where="audio.sample_rate", allowed="1000 to 768000 Hz")

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        return float(self.samples.shape[1] / self.sample_rate)


@dataclass(frozen=True, eq=False)
class Mel(Value):
    """A stereo log-mel spectrogram: (2, 128, F), natural log, 86.13 frames per second (spec 04 section 3)."""

    kind = "mel"
    log_mel: FloatArray

    def __post_init__(self) -> None:
        self._array("log_mel", np.float32, 2, MEL_BANDS, "frames")

    @property
    def frames(self) -> int:
        """Mel frames; 8 of them make a latent frame."""
        return int(self.log_mel.shape[2])


@dataclass(frozen=True, eq=False)
class Latents(Value):
    """A song in the autoencoder's normalised latent space: (8, 16, T), T latent frames."""

    kind = "latents"
    array: FloatArray

    def __post_init__(self) -> None:
        self._array("array", np.float32, LATENT_CHANNELS, LATENT_HEIGHT, "frames")

    @property
    def frames(self) -> int:
        return int(self.array.shape[2])

    @property
    def seconds(self) -> float:
        return seconds_from_frames(self.frames)


@dataclass(frozen=True, eq=False)
class Noise(Value):
    """Start noise of one song (spec 02 section 4): what a seed means, drawn on the CPU in fp32.

    Attributes:
        array: (8, 16, T) standard normal, the first draw of the generator seeded with `seed`.
        seed: 0 .. 2^32-1; later draws (pingpong) go on from the same generator.
        retake: (8, 16, T), the first draw of the retake generator; absent when nothing varies.
        retake_seed: the retake generator's seed.
        variance: 0 (the original) .. 1 (all retake).
    """

    kind = "noise"
    array: FloatArray
    seed: int
    retake: FloatArray | None = None
    retake_seed: int | None = None
    variance: float = 0.0

    def __post_init__(self) -> None:
        self._array("array", np.float32, LATENT_CHANNELS, LATENT_HEIGHT, "frames")
        if self.retake is not None:
            self._array("retake", np.float32, *self.array.shape)
        for name in ("seed", "retake_seed"):
            seed = getattr(self, name)
            if seed is not None and not 0 <= seed <= MAX_SEED:
                raise InputError(f"{seed}", where=f"noise.{name}", allowed=f"0 to {MAX_SEED}")
        if (self.retake is None) != (self.retake_seed is None):
            raise InputError("retake noise and retake seed belong together", where="noise.retake")
        if not 0.0 <= self.variance <= 1.0:
            raise InputError(f"{self.variance}", where="noise.variance", allowed="0 to 1")

    @property
    def frames(self) -> int:
        return int(self.array.shape[2])


@dataclass(frozen=True, eq=False)
class PromptStates(Value):
    """An encoded prompt: text encoder states (L, width) and mask (L,), and the same weakened (ERG, spec 02 3.1).

    Attributes:
        warnings: what of the text the encoder did not read.
    """

    kind = "prompt"
    text: str
    states: FloatArray
    weak: FloatArray
    mask: FloatArray
    warnings: tuple[str, ...] = dataclasses.field(default=(), metadata={LEFT_OUT_IF_EMPTY: True})

    def __post_init__(self) -> None:
        self._set("warnings", tuple(self.warnings))
        self._array("states", np.float32, "tokens", "width")
        self._array("weak", np.float32, *self.states.shape)
        self._array("mask", np.float32, self.states.shape[0])


@dataclass(frozen=True, eq=False)
class LyricStates(Value):
    """Encoded lyrics (spec 03 section 2, 01 section 6), in the three forms that guidance needs.

    Attributes:
        text: the lyrics as given.
        ids: (L,) token ids; empty lyrics are [0] with mask [0].
        mask: (L,) 0 or 1.
        states: (L, width) lyric encoder output.
        weak: the same with weakened queries (ERG).
        blank: the same for all-zero ids under the same mask.
        skipped: warnings about the words: what was left out, cut, cannot be sung, or was read in another way.
    """

    kind = "lyrics"
    text: str
    ids: NDArray[np.int64]
    mask: FloatArray
    states: FloatArray
    weak: FloatArray
    blank: FloatArray
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._set("skipped", tuple(self.skipped))
        self._array("ids", np.int64, "tokens")
        length = self.ids.shape[0]
        self._array("mask", np.float32, length)
        self._array("states", np.float32, length, "width")
        self._array("weak", np.float32, *self.states.shape)
        self._array("blank", np.float32, *self.states.shape)


@dataclass(frozen=True, eq=False)
class Span(Value):
    """A stretch of time in seconds, `start` included, `end` not."""

    kind = "span"
    start: float
    end: float

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"{getattr(self, name)}", where=f"span.{name}", allowed="a finite number of seconds")
        if self.start < 0 or self.end <= self.start:
            raise InputError(f"{self.start} to {self.end} s", where="span", allowed="0 <= start < end, in seconds")


@dataclass(frozen=True, eq=False)
class Report(Value):
    """Measurements and remarks: JSON numbers, strings, booleans, lists and maps."""

    kind = "report"
    entries: Mapping[str, Any]

    def __post_init__(self) -> None:
        try:
            self._set("entries", json.loads(canonical_json(dict(self.entries))))
        except (TypeError, ValueError) as error:
            raise InputError(f"not JSON: {error}", where="report.entries") from None


@dataclass(frozen=True, eq=False)
class File(Value):
    """An encoded file: its bytes (n,) and its format ("flac", "wav", "mp3", "ogg")."""

    kind = "file"
    content: NDArray[np.uint8]
    format: str

    def __post_init__(self) -> None:
        self._array("content", np.uint8, "bytes")
        if not self.format.isalnum():
            raise InputError(f"{self.format!r}", where="file.format", allowed="letters and digits")


def canonical_json(content: Any) -> str:
    """JSON with sorted keys and no blanks; NaN and infinity are refused."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def pack(value: Value) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Split a value into its arrays and its JSON fields."""
    arrays: dict[str, NDArray[Any]] = {}
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if isinstance(content, np.ndarray):
            arrays[field.name] = content
        elif content or not field.metadata.get(LEFT_OUT_IF_EMPTY):
            fields[field.name] = content
    return arrays, fields


def unpack(kind: str, arrays: Mapping[str, NDArray[Any]], fields: Mapping[str, Any]) -> Value:
    """The value that `pack` took apart; `kind` names its class.

    Raises:
        InputError: the kind is unknown, or a field is missing, extra or of the wrong shape.
    """
    if kind not in Value.kinds:
        raise InputError(f"unknown kind {kind!r}", where="value", allowed=", ".join(sorted(Value.kinds)))
    try:
        return Value.kinds[kind](**arrays, **fields)
    except (TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(str(error), where=kind) from None
