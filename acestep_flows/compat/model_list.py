"""The model of this server, as interfaces list models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

UNNAMED = "ace-step-v1"
"""The model of a server that does not know its name."""


def model_entry(name: str, tasks: Sequence[str]) -> dict[str, Any]:
    """The model of this server, in one shape for all who list models."""
    return {
        "id": name or UNNAMED,
        "object": "model",
        "created": 0,
        "owned_by": "acestep_flows",
        "name": name or UNNAMED,
        "is_default": True,
        "is_loaded": True,
        "supported_task_types": list(tasks),
        "input_modalities": ["text", "audio"],
        "output_modalities": ["audio"],
    }
