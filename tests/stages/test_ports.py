"""Port types follow from annotations, and say what an edge may carry."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from acestep_flows.stages.contract import StageParams
from acestep_flows.stages.ports import PortType, Seed, port_type
from acestep_flows.values import Audio, Latents, Span


class Track(StageParams):
    gain: float
    pan: float = 0.0


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (str, "text"),
        (int, "int"),
        (bool, "bool"),
        (float | None, "float or nothing"),
        (Seed, "seed"),
        (Literal["a", "b"], "text"),
        (list[Audio], "list of audio"),
        (tuple[int, ...], "list of int"),
        (Span, "span"),
        (Any, "any"),
        (list[Track], "list of record of gain: float, pan: float or nothing"),
    ],
)
def test_annotations_become_types(annotation: Any, name: str) -> None:
    assert str(port_type(annotation)) == name


def test_an_annotation_that_no_port_can_have_is_refused() -> None:
    with pytest.raises(TypeError, match="no port type for"):
        port_type(complex)


@pytest.mark.parametrize(
    ("port", "given", "accepted"),
    [
        (float, int, True),
        (int, float, False),
        (int, Seed, True),
        (Seed, int, True),
        (float, Seed, True),
        (bool, int, False),
        (int, bool, False),
        (Latents, Audio, False),
        (Latents, Latents | None, False),
        (Latents | None, Latents, True),
        (list[Audio], list[Audio], True),
        (list[Audio], list[Latents], False),
        (list[float], list[int], True),
        (list[Audio], Audio, False),
        (Any, list[Audio], True),
    ],
)
def test_what_an_edge_may_carry(port: Any, given: Any, accepted: bool) -> None:
    assert port_type(port).accepts(port_type(given)) is accepted


def test_a_record_needs_only_fields_without_default() -> None:
    gain = PortType("record", fields=(("gain", PortType("float")),))
    pan = PortType("record", fields=(("pan", PortType("float")),))
    assert port_type(Track).accepts(gain)
    assert not port_type(Track).accepts(pan)


TAKES = PortType(
    "list", PortType("record", fields=(("song", PortType("audio", optional=True)), ("gain", PortType("float"))))
)


def test_every_leaf_is_given_with_its_type_and_its_path() -> None:
    content = [{"song": "a.wav", "gain": 1}, {"gain": 2, "other": "kept"}]
    assert TAKES.leaves(content, "takes") == [
        ("a.wav", PortType("audio", optional=True), "takes[0].song"),
        (1, PortType("float"), "takes[0].gain"),
        (2, PortType("float"), "takes[1].gain"),
    ]
    assert TAKES.map(content, lambda leaf, kind, where: where) == [
        {"song": "[0].song", "gain": "[0].gain"},
        {"gain": "[1].gain", "other": "kept"},
    ]


def test_content_of_another_type_is_one_leaf() -> None:
    assert TAKES.leaves("a.wav", "takes") == [("a.wav", TAKES, "takes")]
    assert PortType("record", fields=(("x", PortType("int")),)).leaves({"x": [1]}) == [([1], PortType("int"), "x")]


def test_only_files_that_are_given_are_mapped_as_files() -> None:
    content = [{"song": "a.wav", "gain": 1}, {"song": None, "gain": 2}]
    mapped = TAKES.map_files(content, lambda leaf, kind, where: f"{where} {kind.kind}", "takes")
    assert mapped == [{"song": "takes[0].song audio", "gain": 1}, {"song": None, "gain": 2}]
    assert [PortType(kind).is_file for kind in ("audio", "latents", "span", "report", "text")] == [
        *(True, True, False, False, False),
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (PortType("int"), "a whole number"),
        (PortType("list", PortType("float")), "a list of numbers"),
        (PortType("list", PortType("list", PortType("text"))), "a list of lists of texts"),
        (PortType("record", fields=(("list", PortType("int")),)), "a map with list"),
        (PortType("list", PortType("record", fields=(("gain", PortType("float")),))), "a list of maps with gain"),
        (PortType("list", PortType("audio"), optional=True), "a list of audio"),
        (PortType("list"), "a list of anything"),
    ],
)
def test_types_in_the_words_of_messages(kind: PortType, words: str) -> None:
    assert kind.words == words
