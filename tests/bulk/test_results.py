"""Result rows survive their table, and the schema does not depend on what the first rows know."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.bulk.measurements import FIELDS
from acestep_flows.bulk.results import SCHEMA, ResultRow, rows_of, table

FULL = ResultRow(
    id="a",
    index=3,
    line=4,
    status="done",
    attempt=2,
    retake=1,
    inputs_json='{"seed":7}',
    seed=7,
    graph="text2music",
    graph_digest="g",
    weights_digest="w",
    versions={"torch": "2"},
    recipe_digest="r",
    audio_path="audio/00/a.flac",
    audio_bytes=10,
    audio_digest="d",
    fingerprint="f",
    duration=5.0,
    sample_rate=48_000,
    measurements=dict.fromkeys(FIELDS) | {"key": "C", "silence_share": 0.5},
    stage_seconds={"sample": 1.5},
    finished=1_700_000_000.25,
)


def test_rows_come_back() -> None:
    bare = ResultRow(id="b", index=0, line=0, status="failed", error="no", code="stage_failed")
    assert list(rows_of(table([FULL, bare]))) == [FULL, bare]


def test_rows_without_knowledge_have_the_types_of_the_schema() -> None:
    made = table([ResultRow(id="b", index=0, line=0, status="failed")])
    assert made.schema == SCHEMA
    assert pa.concat_tables([made, table([FULL])]).num_rows == 2


def test_every_field_has_a_column() -> None:
    assert {part.name for part in dataclasses.fields(ResultRow)} == set(SCHEMA.names)


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"])), st.floats(0, 4e9))
def test_any_text_and_time_come_back(text: str, time: float) -> None:
    (back,) = rows_of(table([dataclasses.replace(FULL, id=text, error=text, finished=time)]))
    assert back.id == back.error == text
    assert back.finished is not None
    assert abs(back.finished - time) < 1e-5
