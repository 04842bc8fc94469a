"""Read the config of the part that a recipe trains, and write the trained part in the checkpoint layout."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.checkpoint import CONFIG, weights_file
from acestep_flows.model.layout import CLASSES, LAYOUTS, class_name, is_optional

NANO = "nano"


def read_config(architecture: str, part: str) -> dict[str, Any]:
    """Read the config of `part`.

    Args:
        architecture: "nano", a `config.json`, the folder of the part, or the folder of a whole checkpoint.

    Raises:
        InputError: there is no config, it cannot be read, or it belongs to another part.
    """
    if architecture == NANO:
        from acestep_flows.training.nano.architecture import configs

        return configs(1, 1)[part]
    path = Path(architecture)
    file = next((file for file in (path / part / CONFIG, path / CONFIG, path) if file.is_file()), None)
    if file is None:
        raise InputError("no config", where=architecture, allowed=f"'{NANO}', a {CONFIG}, or a folder with a {CONFIG}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        known = class_name(config) in CLASSES[part]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"not readable as JSON: {error}", where=str(file)) from None
    if not known:
        raise InputError(f"class {class_name(config)!r}", where=str(file), allowed=" or ".join(CLASSES[part]))
    return dict(config)


def write_part(
    folder: Path,
    part: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    exact: Collection[str] = (),
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Write `folder/part/` with its config and weights. Returns that folder.

    Args:
        tensors: the weights under their published names.
        exact: names of tensors that are stored in fp32.
        dtype: the dtype of all other tensors.

    Raises:
        CheckpointError: names or shapes of the tensors are not those of the config.
        StorageError: a file cannot be written.
    """
    from safetensors.torch import save

    layout = LAYOUTS[class_name(config)](config)
    expected = {name: shape for name, shape in layout.items() if name in tensors or not is_optional(name)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != expected:
        names = sorted({name for name, _ in shapes.items() ^ expected.items()})
        raise CheckpointError(f"tensors that do not fit the config: {', '.join(names[:4])}", where=part)
    stored = {
        name: tensor.detach().cpu().to(torch.float32 if name in exact else dtype).contiguous()
        for name, tensor in tensors.items()
    }
    storage.write(folder / part / CONFIG, (json.dumps(dict(config), indent=2) + "\n").encode())
    storage.write(folder / part / weights_file(part), save(stored, metadata={"format": "pt"}))
    return folder / part
