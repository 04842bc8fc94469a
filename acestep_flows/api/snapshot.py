"""From a request to a run and back: what is accepted is a graph's content and resolved inputs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from acestep_flows.api.store.records import NewRun
from acestep_flows.graph.plan import Plan
from acestep_flows.graph.scope import Scope
from acestep_flows.values import Value

OpenAsset = Callable[[str, str, str], Value]
"""The value in an asset, from its id, the kind wanted, and the input it is for (`Assets.value`)."""


def snapshot(scope: Scope, inputs: Mapping[str, Any], open_asset: OpenAsset) -> tuple[Plan, NewRun]:
    """The plan of a checked graph for inputs as a client gives them, and the run to be accepted for it.

    Give it an owner, priority and so on with `dataclasses.replace`. Reads every asset named: call it in a thread.

    Args:
        inputs: JSON by name; where the graph wants audio, latents and the like, `{"asset": id}`.

    Raises:
        InputError: an input is not what the graph wants.
        NotFound: an asset does not exist.
    """
    raise NotImplementedError


def planned(content: Mapping[str, Any], inputs: Mapping[str, Any], open_asset: OpenAsset) -> Plan:
    """The plan of a run that was accepted."""
    raise NotImplementedError
