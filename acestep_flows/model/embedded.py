"""acestep-nano, the small model inside this package, which is used where no other weights are given.

What it is, what it was taught and how well it does what is in the model card beside its weights.
"""

from __future__ import annotations

from pathlib import Path

from acestep_flows.errors import CheckpointError

NAME = "acestep-nano-1"
"""What recipes call it. A new name for new weights."""

FOLDER = Path(__file__).parents[1] / "checkpoints" / "nano"


def embedded_checkpoint() -> Path:
    """Its folder, which has the published layout.

    Raises:
        CheckpointError: this installation lacks it.
    """
    if not FOLDER.is_dir():
        raise CheckpointError(
            "the embedded model is not in this installation", where=str(FOLDER), allowed="install acestep_flows again"
        )
    return FOLDER
