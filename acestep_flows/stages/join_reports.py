"""Make one report of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import Report


class JoinReports(ItemStage):
    """Join reports: the entries of all of them, the earlier one's where two have the same, and all warnings."""

    name, version = "join_reports", 1

    @dataclass(frozen=True)
    class In:
        reports: list[Report]

    class Params(StageParams):
        pass

    @dataclass(frozen=True)
    class Out:
        report: Report

    def run_one(self, item: In, params: Params) -> Out:
        joined: dict[str, Any] = {}
        for report in reversed(item.reports):
            joined |= report.entries
        warnings = dict.fromkeys(warning for report in item.reports for warning in report.entries.get("warnings", []))
        return self.Out(Report(joined | {"warnings": list(warnings)}))
