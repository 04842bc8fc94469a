"""What a stage takes and gives, in a process whose handles hold the values themselves."""

from __future__ import annotations

import dataclasses
from typing import Any

from acestep_flows.graph.content import Outputs, with_handles, with_values
from acestep_flows.graph.planning.call import StageCall


def item_of(call: StageCall) -> Any:
    """The `In` of a call's stage, with values."""
    return call.stage.In(**with_values(call.inputs))


def ports_of(out: Any) -> Outputs:
    """The ports of an `Out`, with handles."""
    ports: Outputs = with_handles({field.name: getattr(out, field.name) for field in dataclasses.fields(out)})
    return ports
