"""A reference folder: a tiny checkpoint and the numbers the original computes with it.

Sizes, cases and tolerances all come from the folder, so another folder of the same format runs unchanged. There are
two: the full one, which lies beside the repository (`--reference`), and the small one in `small_reference/`, which
every clone has. The small one holds a part of the full one's cases, with the original's numbers, and a few cases whose
numbers were recorded from this implementation (`Case.recorded`); its README says which.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from acestep_flows.model import embedded
from acestep_flows.model.checkpoint import LYRIC_VOCAB_FILE
from tests.parity.small_checkpoint import assembled, has_partial_weights

SMALL = Path(__file__).parent / "small_reference"
"""The reference that every clone has."""


class GoldenTensors(Mapping[str, Tensor]):
    """The named inputs or outputs of one case, read from the golden file when asked for."""

    def __init__(self, file: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
        self._file, self._entries = file, entries

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._file, framework="pt") as tensors:
            tensor: Tensor = tensors.get_tensor(self._entries[name]["key"])
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True)
class Case:
    """One entry of the index.

    Attributes:
        file: golden file without folder, e.g. `guidance.safetensors`.
        params: plain values; file paths in them are relative to the goldens folder.
        lora_file: the adapter of the case, relative to the goldens folder, or empty.
        recorded: whether the outputs were recorded from this implementation, not from the original.
        settled: names of the outputs that a test has compared, or has said why not to.
    """

    name: str
    file: str
    params: Mapping[str, Any]
    inputs: GoldenTensors
    outputs: GoldenTensors
    rtol: float
    atol: float
    notes: str
    lora_file: str = ""
    recorded: bool = False
    settled: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{Path(self.file).stem}/{self.name}"

    def assert_close(self, output: str, got: Tensor) -> None:
        """Fail unless `got` has the output's shape and |got - want| <= atol + rtol * |want| everywhere."""
        self.settled.add(output)
        want = self.outputs[output]
        assert got.shape == want.shape, f"{self}: {output} has shape {tuple(got.shape)}, not {tuple(want.shape)}"
        error = (got.detach().double() - want.double()).abs()
        share = error / (self.atol + self.rtol * want.double().abs()) if self.atol or self.rtol else error * torch.inf
        share = torch.where(error == 0, 0.0, share)
        # "not <=" so that NaN fails as well.
        if error.numel() and not bool((share <= 1).all()):
            pytest.fail(f"{self}: {output} is off by {error.max():.3g}, {share.max():.3g} times the tolerance")

    def assert_equal(self, output: str, got: Tensor) -> None:
        """Fail unless `got` equals the output bit for bit."""
        self.settled.add(output)
        assert torch.equal(got, self.outputs[output]), f"{self}: {output} differs"

    def leave_out(self, output: str, why: str) -> None:
        """Settle an output that carries no meaning for this implementation."""
        assert why
        self.settled.add(output)

    def unknown(self) -> NoReturn:
        """Fail: no parity test knows this kind of case."""
        pytest.fail(
            f"{self}: unknown kind of case (params {sorted(self.params)}, inputs {sorted(self.inputs)}, "
            f"outputs {sorted(self.outputs)})"
        )


class Reference:
    """A reference folder as a whole.

    Attributes:
        root: the folder.
        index: `goldens/index.json`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def exists(self) -> bool:
        return (self.goldens / "index.json").is_file()

    @property
    def goldens(self) -> Path:
        return self.root / "goldens"

    @property
    def lyric_vocab(self) -> Path:
        """The published vocabulary of the lyric tokenizer; where it is not there, the one that is shipped."""
        published = self.root / "lyric-vocab.json"
        return published if published.is_file() else embedded.FOLDER / LYRIC_VOCAB_FILE

    @property
    def has_published_vocab(self) -> bool:
        return self.lyric_vocab.parent == self.root

    @property
    def manifest(self) -> Path:
        """Names, shapes and digests of the published, full-size checkpoint."""
        return self.root / "checkpoint-manifest.json"

    @property
    def published_configs(self) -> Path:
        return self.root / "published-configs"

    @cached_property
    def index(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.goldens / "index.json").read_text(encoding="utf-8"))
        return content

    @property
    def checkpoint(self) -> Path:
        """The tiny checkpoint that the goldens were computed with; of the small reference, its parts put together."""
        folder = self.root / str(self.index["checkpoint"])
        return assembled(self.root, folder) if has_partial_weights(self.root) else folder

    @property
    def files(self) -> set[str]:
        """Every golden file that the index names."""
        return {case["file"] for case in self.index["cases"]} | {self.index["tokenization_file"]}

    def cases(self, file: str) -> list[Case]:
        """All cases of one golden file, in the order of the index."""
        return [self._case(entry) for entry in self.index["cases"] if entry["file"] == file]

    @cached_property
    def tokenization(self) -> dict[str, Any]:
        """The lyric tokenization golden, which is JSON."""
        content: dict[str, Any] = json.loads((self.goldens / self.index["tokenization_file"]).read_text("utf-8"))
        return content

    def _case(self, entry: Mapping[str, Any]) -> Case:
        file = self.goldens / entry["file"]
        return Case(
            name=entry["name"],
            file=entry["file"],
            params=entry["params"],
            inputs=GoldenTensors(file, entry["inputs"]),
            outputs=GoldenTensors(file, entry["outputs"]),
            rtol=entry["tolerance"]["rtol"],
            atol=entry["tolerance"]["atol"],
            notes=entry.get("notes") or "",
            lora_file=entry.get("lora_file") or "",
            recorded=entry.get("recorded", False),
        )
