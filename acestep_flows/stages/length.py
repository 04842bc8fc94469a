"""How long a song is made: as many whole frames as fit, like upstream, or one more to cut from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import (
    MAX_SECONDS,
    OUTPUT_RATE,
    Report,
    frames_covering,
    frames_from_seconds,
    seconds_from_frames,
)

HALF_A_SAMPLE = 0.5 / OUTPUT_RATE


class Length(ItemStage):
    """Say how many seconds to make for the seconds asked, and warn where the song will be shorter.

    A song consists of whole latent frames of 0.093 s. Upstream makes as many as fit, so that 10 s are 9.94 s, and only
    with these is the song of a seed upstream's. With `exact` one frame more is made where they fall short, and `vocode`
    or `keep_outside` cuts the song to the sample; that is another song. The longest song, 240 s, has no frame more.
    """

    name, version = "length", 1

    @dataclass(frozen=True)
    class In:
        pass

    class Params(StageParams):
        seconds: float = Field(ge=0, le=MAX_SECONDS, description="Seconds asked.")
        exact: bool = Field(False, description="Make one frame more where whole frames fall short.")
        sections: list[str] = Field([], description="Further sections of the same length, by their lyrics.")
        of: Literal["song", "left", "right"] = Field("song", description="What has this length, for the report.")

    @dataclass(frozen=True)
    class Out:
        seconds: float = field(metadata={"description": "Seconds to make, for `init_noise` and `repaint`."})
        total: float = field(metadata={"description": "Seconds asked with all sections, for `vocode`."})
        report: Report

    def run_one(self, item: In, params: Params) -> Out:
        asked, count = params.seconds, 1 + len(params.sections)
        covering = seconds_from_frames(frames_covering(asked))
        exact = params.exact and covering <= MAX_SECONDS
        total = count * asked
        made = total if exact else count * seconds_from_frames(frames_from_seconds(asked))
        part = "" if params.of == "song" else f"{params.of}: "
        remedy = "the longest there is" if params.exact else "exact_length=true makes all of it"
        warning = f"{part}{made:.2f} s of the {total:g} s asked, in whole frames; {remedy}"
        report: dict[str, Any] = {
            "length" if params.of == "song" else f"length_{params.of}": {"asked": total, "made": round(made, 6)},
            "warnings": [warning] if total - made > HALF_A_SAMPLE else [],
        }
        return self.Out(covering if exact else asked, total, Report(report))
