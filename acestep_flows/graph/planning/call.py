"""A call of a stage, ready to be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acestep_flows.graph.content import Content, with_values
from acestep_flows.stages.contract import Stage, StageParams


@dataclass(frozen=True, slots=True)
class StageCall:
    """One item for one stage, with inputs and parameters resolved.

    Attributes:
        preview_every: steps between previews, for stages that have any; 0: none.
        run: the run it belongs to. Runs that wait for the same process get equal shares, however many calls each has.

    The outputs depend on neither of the last two.
    """

    stage: type[Stage]
    inputs: Mapping[str, Content]
    params: StageParams
    preview_every: int = 0
    run: str = ""

    @property
    def item(self) -> Any:
        """The `In` of the stage, where the tokens of handles are values."""
        return self.stage.In(**with_values(self.inputs))
