"""Put the user's own samples back where an edit changed nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.stages.lengths import frames_covering
from acestep_flows.values import Audio, Report, Span, seconds_from_frames

if TYPE_CHECKING:
    from acestep_flows.audio.put_back import PutBack


class KeepOutside(ItemStage):
    """Put the source's own samples back where an edit changed nothing, crossfaded over 30 ms at the joints.

    Outside the span, or in an extension wherever the source is, every sample is the source's, bit for bit. The result
    has the source's rate, and one channel if the source has one. Without a source, or with `keep: latents`, the song
    stays as it was decoded.
    """

    name, version = "keep_outside", 1

    @dataclass(frozen=True)
    class In:
        changed: Audio = field(metadata={"description": "The decoded song."})
        source: Audio | None = field(
            default=None, metadata={"description": "The song before; absent: nothing is put back."}
        )

    class Params(StageParams):
        span: Span | None = Field(None, description="What was changed, in seconds; absent: the song was extended.")
        offset: float = Field(0.0, ge=0, description="Second of `changed` at which the source starts.")
        left: float = Field(0.0, ge=0, description="Seconds that were to be added before the source.")
        right: float = Field(0.0, ge=0, description="Seconds that were to be added after it.")
        exact_length: bool = Field(False, description="Cut what was added to `left` and `right`, to the sample.")
        keep: Literal["samples", "latents"] = Field("samples", description="latents: leave the song as it was decoded.")

    @dataclass(frozen=True)
    class Out:
        audio: Audio
        offset: float = field(metadata={"description": "Second of the result at which the source starts."})
        report: Report

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.audio import put_back

        source = item.source if params.keep == "samples" else None
        if source is None:
            back = put_back.PutBack(item.changed, params.offset, ())
        elif params.span is not None:
            back = put_back.around_span(source, item.changed, params.span)
        else:
            back = put_back.inside_extension(source, item.changed, params.offset)
        if params.exact_length and params.span is None:
            back = self._cut(back, item, params)
        entries = {"kept": "latents" if source is None else "samples", "seconds": back.audio.seconds, **back.entries()}
        return self.Out(back.audio, back.offset, Report(entries))

    def _cut(self, back: PutBack, item: In, params: Params) -> PutBack:
        """What was added becomes as long as asked."""
        rate = back.audio.sample_rate
        if item.source is not None:
            end = back.offset + item.source.seconds + params.right
        else:  # the song before ended with a whole frame
            end = back.audio.seconds - seconds_from_frames(frames_covering(params.right)) + params.right
        return back.cut(round(max(0.0, back.offset - params.left) * rate), round(end * rate))
