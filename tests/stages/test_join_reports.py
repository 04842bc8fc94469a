from __future__ import annotations

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.values import Report
from tests.stages.running import run


def test_entries_and_warnings_of_all_are_there(small: Checkpoint) -> None:
    one = Report({"task": "text2music", "seconds": 9.9, "warnings": ["line 3 was left out"]})
    other = Report({"length": {"asked": 10}, "seconds": 0, "warnings": ["short", "line 3 was left out"]})
    joined = run("join_reports", small, {}, reports=[one, other, Report({"seed": 7})]).report.entries
    assert joined == {
        "task": "text2music",
        "seconds": 9.9,
        "length": {"asked": 10},
        "seed": 7,
        "warnings": ["line 3 was left out", "short"],
    }
