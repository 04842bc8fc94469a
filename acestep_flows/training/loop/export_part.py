"""Writing a trained part as a checkpoint folder holds it, and finding the config that a recipe means."""

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
    """The config of `part`: nano's, or that of a `config.json`, a part's folder, or a whole checkpoint's folder.

    Raises:
        InputError: there is none, or it is of another part.
    """
    if architecture == NANO:
        from acestep_flows.training.nano.architecture import configs

        return configs(1, 1)[part]
    path = Path(architecture)
    file = next((one for one in (path / part / CONFIG, path / CONFIG, path) if one.is_file()), None)
    if file is None:
        raise InputError("no config", where=architecture, allowed=f"'{NANO}', a {CONFIG}, or a folder with one")
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
    """Write `folder/part/` with its config and weights; gives that folder.

    Args:
        tensors: the weights under their published names.
        exact: names that stay fp32.

    Raises:
        CheckpointError: the tensors are not those that the config implies.
        StorageError: a file cannot be written.
    """
    from safetensors.torch import save

    layout = LAYOUTS[class_name(config)](config)
    expected = {name: shape for name, shape in layout.items() if name in tensors or not is_optional(name)}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        names = sorted({name for name, _ in found.items() ^ expected.items()})
        raise CheckpointError(f"tensors that are not the config's: {', '.join(names[:4])}", where=part)
    written = {
        name: tensor.detach().cpu().to(torch.float32 if name in exact else dtype).contiguous()
        for name, tensor in tensors.items()
    }
    storage.write(folder / part / CONFIG, (json.dumps(dict(config), indent=2) + "\n").encode())
    storage.write(folder / part / weights_file(part), save(written, metadata={"format": "pt"}))
    return folder / part
