from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.values import Audio, Span
from tests.stages.material import tone
from tests.stages.running import run


def test_a_change_is_found_where_it_is(small: Checkpoint) -> None:
    before = tone(4.0)
    samples = before.samples.copy()
    samples[:, 48_000:96_000] = 0
    params = {"span": Span(1.0, 2.0), "edge": 0.5}
    entries = run("compare", small, params, before=before, after=Audio(samples, 48_000)).report.entries
    assert entries["inside"]["relative"] == pytest.approx(1.0)
    assert entries["edges"]["largest"] == entries["outside"]["largest"] == 0.0


def test_without_a_span_all_of_it_was_to_change(small: Checkpoint) -> None:
    entries = run("compare", small, {}, before=tone(1.0), after=tone(1.0, 330)).report.entries
    assert entries["inside"]["seconds"] == 1.0
    assert entries["outside"] is None


def test_an_extension_was_to_change_nothing(small: Checkpoint) -> None:
    after = Audio(np.concatenate([np.zeros((2, 24_000), np.float32), tone(1.0).samples], axis=1), 48_000)
    params = {"unchanged": True, "offset": 0.5}
    entries = run("compare", small, params, before=tone(1.0), after=after).report.entries
    assert entries["outside"]["largest"] == 0.0
    assert entries["inside"] is None


def test_a_span_contradicts_unchanged(small: Checkpoint) -> None:
    with pytest.raises(InputError, match="a span, although `unchanged` is true"):
        run("compare", small, {"span": Span(0, 1), "unchanged": True}, before=tone(1.0), after=tone(1.0))


def test_what_the_user_gave_has_a_row(small: Checkpoint) -> None:
    given, decoded = tone(4.0, sample_rate=44_100), tone(4.0, 221)
    samples = given.samples.copy()
    samples[:, 44_100:88_200] = 0
    values: dict[str, Any] = {"before": decoded, "after": decoded, "given": given, "result": Audio(samples, 44_100)}
    entries = run("compare", small, {"span": Span(1.0, 2.0), "edge": 0.5}, **values).report.entries
    assert entries["outside"]["largest"] == entries["given"]["outside"]["largest"] == 0.0
    assert entries["given"]["inside"]["relative"] == pytest.approx(1.0)
    assert "given" not in run("compare", small, {}, before=decoded, after=decoded).report.entries


def test_the_result_may_start_elsewhere_than_the_decoded_song(small: Checkpoint) -> None:
    given = tone(1.0)
    longer, cut = (
        Audio(np.concatenate([np.zeros((2, zeros), np.float32), given.samples], axis=1), 48_000)
        for zeros in (24_000, 20_000)
    )
    params = {"unchanged": True, "offset": 0.5, "result_offset": 20_000 / 48_000}
    values: dict[str, Any] = {"before": given, "after": longer, "given": given, "result": cut}
    entries = run("compare", small, params, **values).report.entries
    assert entries["outside"]["largest"] == entries["given"]["outside"]["largest"] == 0.0
