"""acestep-nano, the small model inside this package. It is used where no other weights are given.

The model card beside its weights says how it was trained and what it can do.
"""

from __future__ import annotations

from pathlib import Path

from acestep_flows.errors import CheckpointError

NAME = "acestep-nano-1"
"""The model's name in recipes. New weights get a new name."""

NOTES = (
    "a demonstration model: it does not sing words, and keeps the tempo in the tags loosely",
    "it knows eight styles (house, rock, folk, jazz, hip hop, orchestral, ambient, synthwave), twenty instruments and "
    "two voices; other words in the tags are ignored",
    "it was trained on pieces of 6 to 18 s; longer songs have no form",
)
"""What people should know before they use it, from the model card."""

FOLDER = Path(__file__).parents[1] / "checkpoints" / "nano"


def embedded_checkpoint() -> Path:
    """The folder of acestep-nano, in the published layout.

    Raises:
        CheckpointError: this installation lacks the folder.
    """
    if not FOLDER.is_dir():
        raise CheckpointError(
            "the embedded model is not in this installation", where=str(FOLDER), allowed="install acestep_flows again"
        )
    return FOLDER
