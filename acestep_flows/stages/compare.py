"""Say where two versions of a song differ."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import Field

from acestep_flows.errors import InputError
from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import Audio, Report, Span


class Compare(ItemStage):
    """Compare two versions as waveforms: the change inside a span, in the edges next to it, and outside of both.

    `before` and `after` are decoded alike, so that their difference is what the edit did. With `given` and `result` the
    report has a row `given`: how what the user gets differs from what the user gave.
    """

    name, version = "compare", 2

    @dataclass(frozen=True)
    class In:
        before: Audio
        after: Audio
        given: Audio | None = field(default=None, metadata={"description": "What the user gave."})
        result: Audio | None = field(default=None, metadata={"description": "What the user gets; absent: `after`."})

    class Params(StageParams):
        span: Span | None = Field(None, description="The part that should change, in seconds of `after`; absent: all.")
        unchanged: bool = Field(False, description="True if `before` should be unchanged (the song was only extended).")
        offset: float = Field(0.0, ge=0, description="Second of `after` at which `before` starts.")
        result_offset: float | None = Field(
            None, ge=0, description="Second of `result` at which `given` starts; absent: as `offset`."
        )
        edge: float = Field(1.0, ge=0, description="Seconds on either side of the span that are counted apart.")

    @dataclass(frozen=True)
    class Out:
        report: Report

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.audio import locality

        if params.unchanged and params.span is not None:
            raise InputError("a span, although `unchanged` is true", where="compare.span", allowed="one of the two")
        span = None if params.unchanged else params.span or Span(0.0, item.after.seconds)
        change = locality.audio(item.before, item.after, span, offset=params.offset, edge=params.edge)
        entries = change.entries()
        if item.given is not None:
            result = item.result or item.after
            offset = params.offset if params.result_offset is None else params.result_offset
            entries["given"] = locality.audio(item.given, result, span, offset=offset, edge=params.edge).entries()
        return self.Out(Report(entries))
