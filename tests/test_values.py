"""Values check themselves, know their digest, and can be taken apart and put together."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows import values
from acestep_flows.errors import InputError
from acestep_flows.values import (
    MAX_SEED,
    Audio,
    File,
    Latents,
    LyricStates,
    Mel,
    Noise,
    PromptStates,
    Report,
    Span,
    Value,
    canonical_json,
    frames_from_seconds,
    pack,
    seconds_from_frames,
    unpack,
)


def array(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ONE_OF_EACH: list[Value] = [
    Audio(array(2, 100), 48_000),
    Mel(array(2, 128, 16)),
    Latents(array(8, 16, 2)),
    Noise(array(8, 16, 2), 7),
    Noise(array(8, 16, 2), 7, array(8, 16, 2, seed=1), 8, 0.5),
    PromptStates("funk", array(3, 4), array(3, 4, seed=1), np.ones(3, np.float32)),
    LyricStates(
        "la", np.arange(3), np.ones(3, np.float32), array(3, 4), array(3, 4), array(3, 4), ("line 2 was left out",)
    ),
    Span(1.0, 2.5),
    Report({"level": -12.5, "notes": ["a", None, True]}),
    File(np.arange(9, dtype=np.uint8), "flac"),
]
EACH = pytest.mark.parametrize("value", ONE_OF_EACH, ids=lambda value: value.kind)


def test_every_kind_is_tested() -> None:
    assert {value.kind for value in ONE_OF_EACH} >= {
        kind for kind, cls in Value.kinds.items() if "acestep" in cls.__module__
    }


@EACH
def test_taken_apart_and_put_together(value: Value) -> None:
    arrays, fields = pack(value)
    again = unpack(value.kind, {name: part.copy() for name, part in arrays.items()}, fields)
    assert again == value
    assert again.digest == value.digest
    assert hash(again) == hash(value)


@EACH
def test_across_processes(value: Value) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


@EACH
def test_nothing_can_be_changed(value: Value) -> None:
    arrays, fields = pack(value)
    for name in (*arrays, *fields):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)
    for part in arrays.values():
        assert not part.flags.writeable


@EACH
def test_any_change_of_content_changes_the_digest(value: Value) -> None:
    arrays, fields = pack(value)
    for name, part in arrays.items():
        changed = part.copy()
        changed.flat[0] = 1 - changed.flat[0] if name.endswith("mask") else changed.flat[0] + 1
        assert unpack(value.kind, arrays | {name: changed}, fields).digest != value.digest


def test_the_same_content_of_another_kind_has_another_digest() -> None:
    bytes_ = array(8, 16, 2)
    assert Latents(bytes_).digest != Noise(bytes_, 0).digest


def test_a_digest_does_not_depend_on_memory_layout() -> None:
    song = array(8, 16, 4)
    assert Latents(np.asfortranarray(song)).digest == Latents(song).digest


def test_lone_surrogates_have_a_digest() -> None:
    assert Report({"text": "\ud83d"}).digest != Report({"text": "?"}).digest


@EACH
def test_the_size_is_that_of_arrays_and_fields(value: Value) -> None:
    arrays, fields = pack(value)
    assert value.nbytes == sum(part.nbytes for part in arrays.values()) + len(canonical_json(fields))


def test_digest_and_size_take_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[Value] = []

    def counted(value: Value) -> Any:
        packed.append(value)
        return pack(value)

    monkeypatch.setattr(values, "pack", counted)
    latents = Latents(array(8, 16, 2))
    for _ in range(2):
        assert latents.digest
        assert latents.nbytes == 1026
    assert packed == [latents]


def test_digests_do_not_change_between_versions_of_the_package() -> None:
    """Cache entries and recipes name values by digest."""
    zeros = np.zeros((8, 16, 2), np.float32)
    digests = [value.digest for value in (Noise(zeros, 7), Report({"é": [1, None]}))]
    assert digests == [
        "bd0449b9382ccef6972f64970756056383f05802e11b9f055a51855953a7e59a",
        "9b34b07614aff9ed242c82bca37f5cba77f4a482797664fdc60004ed82129637",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Audio(array(100), 48_000), r"audio.samples: shape \(100,\) \(allowed: \(channels, samples\)\)"),
        (lambda: Audio(array(65, 10), 48_000), "65 channels"),
        (lambda: Audio(array(2, 10), 0), "0 Hz"),
        (lambda: Audio(np.array([[np.nan, 0.0]]), 48_000), "audio.samples: NaN or infinity"),
        (lambda: Audio(np.array([["a"]]), 48_000), "dtype <U1"),
        (lambda: Mel(array(1, 128, 8)), "mel.log_mel: shape"),
        (lambda: Latents(array(1, 8, 16, 4)), "latents.array: shape"),
        (lambda: Noise(array(8, 16, 2), -1), r"noise.seed: -1 \(allowed: 0 to 4294967295\)"),
        (lambda: Noise(array(8, 16, 2), MAX_SEED + 1), "noise.seed"),
        (lambda: Noise(array(8, 16, 2), 1, array(8, 16, 2)), "belong together"),
        (lambda: Noise(array(8, 16, 2), 1, array(8, 16, 3), 2), "noise.retake: shape"),
        (lambda: Noise(array(8, 16, 2), 1, variance=1.5), "noise.variance: 1.5"),
        (lambda: PromptStates("a", array(3, 4), array(2, 4), np.ones(3, np.float32)), "prompt.weak: shape"),
        (lambda: Span(2.0, 1.0), r"span: 2.0 to 1.0 s \(allowed: 0 <= start < end"),
        (lambda: Span(-1.0, 1.0), "span: -1.0 to 1.0 s"),
        (lambda: Span(0.0, float("inf")), "span.end: inf"),
        (lambda: Report({"x": float("nan")}), "report.entries: not JSON"),
        (lambda: Report({"x": object()}), "report.entries: not JSON"),
        (lambda: File(np.zeros(1, np.uint8), "../x"), "file.format"),
        (lambda: unpack("song", {}, {}), "unknown kind 'song'"),
        (lambda: unpack("latents", {}, {}), "latents: .*array"),
        (lambda: unpack("latents", {"array": array(8, 16, 1)}, {"extra": 1}), "latents: .*extra"),
    ],
)
def test_what_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@given(st.integers(0, 10_000))
def test_a_frame_count_survives_seconds(frames: int) -> None:
    assert frames_from_seconds(seconds_from_frames(frames)) == frames


@given(st.floats(0, 1000))
def test_frames_are_truncated(seconds: float) -> None:
    frames = frames_from_seconds(seconds)
    assert seconds_from_frames(frames) <= seconds + 1e-9
    assert seconds < seconds_from_frames(frames + 1) + 1e-9


@pytest.mark.parametrize(("seconds", "frames"), [(240, 2583), (60, 645), (30, 322), (-0.5, -5), (0, 0)])
def test_frames_of_the_specification(seconds: float, frames: int) -> None:
    assert frames_from_seconds(seconds) == frames


def test_canonical_json() -> None:
    assert canonical_json({"b": 1, "a": ["é"]}) == '{"a":["é"],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
