"""Names of adapters and control branches as stage parameters. What can be none is refused when a run is planned."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from acestep_flows.model.extras import unusable_name


def _usable(name: str) -> str:
    if fault := unusable_name(name):
        raise ValueError(f"a name, or the path of a folder, not {fault}")
    return name


WeightsName = Annotated[str, AfterValidator(_usable)]
"""The name of an adapter or control branch, or the path of its folder. A runner knows whether there is one."""
