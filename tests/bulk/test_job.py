from __future__ import annotations

import json

import pytest

from acestep_flows.bulk.gates import Gate
from acestep_flows.bulk.job import BulkJob, ManifestSource, Shard, Sweep, parse_shard, read_job, to_text
from acestep_flows.errors import InputError

JOB = BulkJob(
    source=ManifestSource("m.jsonl", 20, ("id", "tags"), "ab" * 32),
    graph="text2music",
    digest="cd" * 32,
    content={"graph": {"graph": "text2music"}},
    weights={"transformer": "ef"},
    stages={"sample": 3},
    constants={"steps": 27},
    sweeps=(Sweep("seed", (1, 2, 3)), Sweep("tags", ("夜", "b"))),
    gates=(Gate("silence_share", "<", 0.5), Gate("key", "==", "C major")),
    retakes=2,
    layout="webdataset",
)


def test_a_job_reads_back_and_is_written_the_same() -> None:
    text = to_text(JOB)
    assert read_job(json.loads(text)) == JOB
    assert to_text(read_job(json.loads(text))) == text


def test_rows_are_multiplied_by_sweeps() -> None:
    assert (JOB.combinations, JOB.rows) == (6, 120)


@pytest.mark.parametrize("content", [None, [], {}, {"schema": 1}, {"schema": 99}, {**JOB.as_json(), "more": 1}])
def test_what_is_no_job_is_refused(content: object) -> None:
    with pytest.raises(InputError, match=r"job\.json"):
        read_job(content)


def test_shards_part_the_rows() -> None:
    shards = [parse_shard(f"{number}/4") for number in range(1, 5)]
    assert [[shard.holds(index) for shard in shards].count(True) for index in range(10)] == [1] * 10
    assert str(parse_shard(" 3/16 ")) == "3/16"
    assert Shard().holds(7)


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "a/b", "1/2/3", "1.5/2", "9" * 30 + "/" + "9" * 30]
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--shard"):
        parse_shard(text)
