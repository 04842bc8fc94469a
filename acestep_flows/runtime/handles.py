"""Values and handles in one process: the handle's token is the value itself."""

from __future__ import annotations

import dataclasses
from typing import Any

from acestep_flows.graph.content import Content, Handle, Outputs, translate
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.values import Value


def item_of(call: StageCall) -> Any:
    """What the stage of a call is given; the handles' tokens are values."""
    return call.stage.In(**translate(call.inputs, fetched))


def ports_of(out: Any) -> Outputs:
    """An output's ports, values in handles."""
    ports: Outputs = translate({field.name: getattr(out, field.name) for field in dataclasses.fields(out)}, held)
    return ports


def held(content: Any) -> Content:
    if isinstance(content, Value):
        return Handle.of(content, content)
    leaf: Content = content
    return leaf


def fetched(content: Any) -> Any:
    return content.token if isinstance(content, Handle) else content
