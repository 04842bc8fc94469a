"""One item for one stage, ready to be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from acestep_flows.graph.content import Content
from acestep_flows.stages.contract import Stage, StageParams


@dataclass(frozen=True, slots=True)
class StageCall:
    """One item for one stage, with inputs and parameters resolved.

    Attributes:
        preview_every: steps between previews, of stages that have any; 0: none.
        run: whose call it is. Where many wait for their turn, runs get equal shares, however many calls each has.

    What comes out depends on neither of these two.
    """

    stage: type[Stage]
    inputs: Mapping[str, Content]
    params: StageParams
    preview_every: int = 0
    run: str = ""
