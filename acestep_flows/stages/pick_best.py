"""Pick the best of several takes by what was measured of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from acestep_flows.errors import InputError
from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.stages.ports import Seed
from acestep_flows.values import Latents, Report


class Bound(StageParams):
    """A limit on one measurement. A measurement that has no answer breaks it."""

    measurement: str = Field(description="Name of the measurement, such as silence_share.")
    minimum: float | None = Field(None, description="Lowest value allowed.")
    maximum: float | None = Field(None, description="Highest value allowed.")


class Pick(ItemStage):
    """Pick the take with the fewest broken bounds; ties go to the best value of `by`, where `prefer` says what is best.

    If these are equal too, the earlier take is picked.
    """

    name, version = "pick", 1

    @dataclass(frozen=True)
    class In:
        takes: list[Latents]
        reports: list[Report]

    class Params(StageParams):
        by: str = Field("loudness_lufs", description="The measurement that decides.")
        prefer: Literal["highest", "lowest", "nearest"] = Field("highest", description="Which value of `by` is best.")
        target: float | None = Field(None, description="The best value of `by` if `prefer` is nearest.")
        bounds: tuple[Bound, ...] = Field((), description="Limits on the measurements of a good take.")
        seeds: tuple[Seed, ...] = Field((), description="The seed of each take, for the report.")
        added_later = frozenset({"seeds"})

    @dataclass(frozen=True)
    class Out:
        latents: Latents
        index: int
        report: Report

    def run_one(self, item: In, params: Params) -> Out:
        if not item.takes or len(item.takes) != len(item.reports):
            counts = f"{len(item.takes)} takes and {len(item.reports)} reports"
            raise InputError(counts, where="pick", allowed="at least one take, and a report for each")
        if (params.prefer == "nearest") != (params.target is not None):
            raise InputError(f"prefer {params.prefer}", where="pick.target", allowed="a target, only with nearest")
        if params.seeds and len(params.seeds) != len(item.takes):
            counts = f"{len(params.seeds)} seeds and {len(item.takes)} takes"
            raise InputError(counts, where="pick.seeds", allowed="none, or one for each take")
        ranks = [_rank(report.entries, params) for report in item.reports]
        best = min(range(len(ranks)), key=ranks.__getitem__)
        judged = [{"broken_bounds": broken, params.by: report.entries.get(params.by)}
                  for (broken, _), report in zip(ranks, item.reports, strict=True)]  # fmt: skip
        entries = {"picked": best, "takes": judged, "measurements": item.reports[best].entries}
        if params.seeds:
            for take, seed in zip(judged, params.seeds, strict=True):
                take["seed"] = seed
            entries |= {"seed": params.seeds[best], "by": params.by, "value": judged[best][params.by]}
        return self.Out(item.takes[best], best, Report(entries))


def _rank(entries: Mapping[str, Any], params: Pick.Params) -> tuple[int, float]:
    """Broken bounds, and distance from the best value of the deciding measurement: less is better."""
    broken = sum(_breaks(_number(entries, bound.measurement), bound) for bound in params.bounds)
    value = _number(entries, params.by)
    if value is None:
        return broken, math.inf
    if params.target is not None:
        return broken, abs(value - params.target)
    return broken, value if params.prefer == "lowest" else -value


def _breaks(value: float | None, bound: Bound) -> bool:
    if value is None:
        return True
    low = bound.minimum is not None and value < bound.minimum
    high = bound.maximum is not None and value > bound.maximum
    return low or high


def _number(entries: Mapping[str, Any], name: str) -> float | None:
    if name not in entries:
        raise InputError(f"no measurement {name!r}", where="pick", allowed=", ".join(sorted(entries)))
    value = entries[name]
    if value is not None and not isinstance(value, (int, float)):
        raise InputError(f"{name} is {value!r}", where="pick", allowed="a measurement that is a number")
    return value
