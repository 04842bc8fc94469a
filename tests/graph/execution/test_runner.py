"""Content: translation, leaves, fingerprints."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.graph.content import Handle, fingerprint, leaves, sha256, translate
from acestep_flows.values import Span, canonical_json

handles = st.builds(Handle, st.sampled_from(["audio", "mel"]), st.sampled_from(["d1", "d2"]), st.just(1))
contents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | handles,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "map", "a"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(contents, contents)
def test_fingerprints_tell_contents_apart(one: Any, two: Any) -> None:
    same = one == two and canonical_json(translate(one, repr)) == canonical_json(translate(two, repr))
    assert (canonical_json(fingerprint(one)) == canonical_json(fingerprint(two))) is same


def test_no_map_can_pose_as_a_value() -> None:
    assert fingerprint(Handle("audio", "d", 1)) != fingerprint({"value": ["audio", "d"]})


def test_a_value_and_its_handle_have_one_fingerprint() -> None:
    span = Span(0, 1)
    assert fingerprint(span) == fingerprint(Handle.of(span))


@given(contents)
def test_translate_visits_every_leaf(content: Any) -> None:
    assert list(leaves(translate(content, lambda leaf: ("seen", leaf)))) == [
        part for leaf in leaves(content) for part in ("seen", leaf)
    ]


def test_lone_surrogates_are_hashed() -> None:
    assert sha256("\ud800") != sha256("\ud801")
