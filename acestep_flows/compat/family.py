"""What a family is: a name, routes, and the form of its errors."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord
from acestep_flows.compat.refusal import ErrorAnswer


@dataclass(frozen=True)
class Family:
    """The interface of another server.

    Attributes:
        name: as `--speak` has it.
        title: what it is, for its OpenAPI document.
        router: its routes, from the root on.
        render: the response to an error.
        webhook: the body of the webhook of a run that has ended; the run's `webhook` has the `base` address of the
            family. None where clients ask for none.
    """

    name: str
    title: str
    router: APIRouter
    render: Callable[[Request, ErrorAnswer], Response]
    webhook: Callable[[Service, RunRecord], Mapping[str, Any]] | None = None


def load(name: str) -> Family:
    """A family of `spoken.families()` by name."""
    family = importlib.import_module(f"acestep_flows.compat.{name}.family").FAMILY
    assert isinstance(family, Family)
    return family
