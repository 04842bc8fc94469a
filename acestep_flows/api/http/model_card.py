"""What a server says about its model: name, notes, its own settings, and what is installed beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelCard:
    """A model, for people and forms.

    Attributes:
        name: as in recipes; empty if the server does not know it.
        notes: what people should know before they use it.
        sampling: the value of each sampling option that a run takes where it gives none.
        adapters: names for the input `adapter`.
        controls: names of control branches.
    """

    name: str = ""
    notes: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()


def unknown_model() -> ModelCard:
    """The card of a server that was not told about its model."""
    return ModelCard()
