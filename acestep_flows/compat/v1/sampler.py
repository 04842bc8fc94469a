"""v1's sampler of examples: the parameters of a song to begin with."""

from __future__ import annotations

import json
import random
from os import PathLike
from pathlib import Path
from typing import Any

from acestep_flows.compat.v1.call import PARAMETERS
from acestep_flows.errors import InputError
from acestep_flows.values import MAX_SEED

_NOT_OF_EXAMPLES = ("manual_seeds", "save_path", "batch_size", "debug")


class DataSampler:
    """Gives examples, one at random each time.

    Args:
        folder: a folder with `*.json` of v1; None: our own examples.

    Raises:
        InputError: the folder has none.
    """

    def __init__(self, folder: str | PathLike[str] | None = None) -> None:
        self._examples = _own() if folder is None else _of_folder(Path(folder))

    def sample(self, lora: str | None = None) -> dict[str, Any]:
        """An example; for an adapter one of its own if there is one, and with its name in any case."""
        wanted = lora if lora not in (None, "", "none") else None
        of_adapter = [one for one in self._examples if one.get("lora_name_or_path", "none") == (wanted or "none")]
        example = dict(random.choice(of_adapter or self._examples))
        return example | ({"lora_name_or_path": wanted} if wanted else {})


def _own() -> list[dict[str, Any]]:
    from acestep_flows.api.http.starting_points import EXAMPLES

    usual = {name: value for name, value in PARAMETERS.items() if name not in _NOT_OF_EXAMPLES}
    return [
        usual
        | {
            "prompt": example.inputs["tags"],
            "lyrics": example.inputs["lyrics"],
            "audio_duration": float(example.inputs["duration"]),
            "oss_steps": [],
            "actual_seeds": [random.randint(0, MAX_SEED)],
            "retake_seeds": [random.randint(0, MAX_SEED)],
        }
        for example in EXAMPLES
    ]


def _of_folder(folder: Path) -> list[dict[str, Any]]:
    examples = []
    for file in sorted(folder.glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"not readable: {error}", where=str(file), allowed="parameters of v1 as JSON") from None
        if isinstance(content, dict) and "prompt" in content:
            examples.append(content)
    if not examples:
        raise InputError("no examples there", where=str(folder), allowed="a folder with *_input_params.json of v1")
    return examples
