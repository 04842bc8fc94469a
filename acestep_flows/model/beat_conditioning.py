"""How a model plays to a beat: the file `beat.json` of a checkpoint, which the published model does not have.

    {"control_branch": "beat", "pattern": "style", "scale": 1.0}

A model with this file has a control branch that follows drum strokes. Graphs that ask for it then get a beat at the
tempo of their tags (stage `sample`, parameter `beat`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from acestep_flows.errors import CheckpointError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.wording.faults import data_faults

FILE = "beat.json"
STYLE = "style"
"""The pattern that follows the style in the tags."""


@dataclass(frozen=True)
class BeatConditioning:
    """The settings of one model.

    Attributes:
        control_branch: name of the branch that hears the beat.
        pattern: name of the pattern, or "style".
        scale: strength of the branch.
        scale_without_drums: the same for tags that ask for no drums; absent: `scale`.
        until: the least timestep at which the beat is heard, in 0..1000; 0: to the end. Later steps follow the tags.
        adapter: whether the adapter that was trained with the branch is used, too.
    """

    control_branch: str
    pattern: str = STYLE
    scale: Annotated[float, Field(ge=0, le=10)] = 1.0
    scale_without_drums: Annotated[float, Field(ge=0, le=10)] | None = None
    until: Annotated[float, Field(ge=0, le=1000)] = 0.0
    adapter: bool = True


def beat_conditioning(checkpoint: Checkpoint) -> BeatConditioning | None:
    """The settings of the model in `checkpoint`; None where it has none.

    Raises:
        CheckpointError: the file is not readable, or a setting is not allowed.
    """
    file = checkpoint.root / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(file)) from None
    try:
        return TypeAdapter(BeatConditioning).validate_python(content)
    except ValidationError as error:
        first = data_faults(error)[0]
        raise CheckpointError(f"{first.where}: {first.what}", where=str(file), allowed=first.allowed) from None
