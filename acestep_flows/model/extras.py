"""Extras: adapters and control branches, weights added to a checkpoint, found by name or by path.

    <folder>/adapters/NAME/pytorch_lora_weights.safetensors
    <folder>/controls/NAME/config.json, diffusion_pytorch_model.safetensors

A folder is the checkpoint's own or one that the user named. A public server turns paths off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.storage import path_fault, user_path

Kind = Literal["adapters", "controls"]

LORA_FILE = "pytorch_lora_weights.safetensors"
"""The file of an adapter, by upstream's name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_WORD = {"adapters": "adapter", "controls": "control branch"}
_PATH = "; or the path of a LoRA's file or folder; acestep-flows train makes one"
_UNPUBLISHED = "; none are published for stemgen and singing2accompaniment, they have to be trained"


def unusable_name(name: str) -> str:
    """What makes `name` neither the name of an extra nor a path that a file system takes; empty for a usable one."""
    return "" if _NAME.fullmatch(name) else path_fault(name) if name.strip() else "blank"


def refuse_training_folder(path: Path) -> None:
    """Raise CheckpointError if `path` is the folder of a training whose adapter lies in `export`; it names that."""
    if (path / "export" / LORA_FILE).is_file() and not any(path.glob("*.safetensors")):
        raise CheckpointError(
            "the folder of a training, no adapter", where=str(path), allowed=f"its adapter: {path / 'export'}"
        )


@dataclass(frozen=True)
class Extras:
    """The folders in which extras are found.

    Attributes:
        folders: searched in order.
        paths: whether a path is accepted in place of a name.
    """

    folders: Sequence[Path]
    paths: bool = True

    def find(self, kind: Kind, name: str) -> Path:
        """The folder (or single file) of the extra called `name`.

        Raises:
            InputError: `name` is a path where paths are turned off, or is neither a name nor a path.
            CheckpointError: no extra has that name, or nothing exists at that path, or it is the folder of a training
                with the adapter inside.
        """
        word = _WORD[kind]
        if not _NAME.fullmatch(name):
            if not self.paths or "\0" in name or not name.strip():
                raise InputError(f"{name!r}", where=word, allowed="a name of letters, digits, '.', '_' and '-'")
            path = user_path(name, word)
            if not path.exists():
                allowed = f"a file or folder with its weights, or a name: {self._installed(kind)}"
                raise CheckpointError(f"nothing at {name}", where=word, allowed=allowed)
            if kind == "adapters":
                refuse_training_folder(path)
            return path
        for folder in self.folders:
            if (extra := folder / kind / name).is_dir():
                return extra
        hint = _UNPUBLISHED if kind == "controls" else _PATH if self.paths else ""
        raise CheckpointError(f"no weights for {word} {name!r}", where=word, allowed=self._installed(kind) + hint)

    def _installed(self, kind: Kind) -> str:
        return ", ".join(self.names(kind)) or "none are installed"

    def names(self, kind: Kind) -> list[str]:
        """The names of all installed extras of `kind`, sorted."""
        return sorted({entry.name for folder in self.folders for entry in (folder / kind).glob("*") if entry.is_dir()})
