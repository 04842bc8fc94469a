"""Run one stage on one item, as a scheduler would."""

from __future__ import annotations

from typing import Any

from acestep_flows.errors import FlowsError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, Watch
from acestep_flows.stages.registry import stages


def loaded(name: str, checkpoint: Checkpoint) -> Stage:
    """The stage called `name`, its weights in place."""
    stage = stages()[name]()
    stage.load(checkpoint, Placement())
    return stage


def run(
    name: str, checkpoint: Checkpoint, params: dict[str, Any], watch: Watch = IGNORE_PROGRESS, **inputs: Any
) -> Any:
    """The stage's output; an error in the item's place is raised."""
    stage = loaded(name, checkpoint)
    (out,) = stage.run([stage.In(**inputs)], [stage.Params(**params)], watch)
    if isinstance(out, FlowsError):
        raise out
    return out
