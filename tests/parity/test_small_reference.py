"""The small reference: what it says of the original is what the full one says, and it covers every kind of case."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from acestep_flows.model.checkpoint import weights_file
from tests.parity.reference import SMALL, Case, Reference
from tests.parity.small_checkpoint import WEIGHTS
from tests.parity.test_coverage import claimed_files

MAX_BYTES = 3_000_000
SMALL_REFERENCE = Reference(SMALL)
ORIGINAL = [
    case
    for file in sorted(SMALL_REFERENCE.files - {SMALL_REFERENCE.index["tokenization_file"]})
    for case in SMALL_REFERENCE.cases(file)
    if not case.recorded
]


def test_it_has_every_kind_of_case_and_is_small() -> None:
    assert SMALL_REFERENCE.files == claimed_files()
    assert sum(file.stat().st_size for file in SMALL.rglob("*")) < MAX_BYTES


@pytest.mark.parametrize("small", ORIGINAL, ids=str)
def test_a_case_of_the_original_is_that_of_the_full_reference(small: Case, full_reference: Reference) -> None:
    (full,) = (case for case in full_reference.cases(small.file) if case.name == small.name)
    left_out = {"out_sample_rates"} if small.params != full.params else set()
    assert {**small.params, **dict.fromkeys(left_out)} == {**full.params, **dict.fromkeys(left_out)}
    assert (small.atol, small.rtol) == (full.atol, full.rtol)
    assert set(full.inputs) <= set(small.inputs) <= set(full.inputs) | set(full.outputs)
    for name, tensor in small.inputs.items():
        want = full.inputs[name] if name in full.inputs else full.outputs[name]
        assert_beginning(tensor, want)
    for name, tensor in small.outputs.items():
        assert torch.equal(tensor, full.outputs[name]), name


def assert_beginning(tensor: Tensor, whole: Tensor) -> None:
    """`tensor` is `whole`, or its first channels."""
    assert torch.equal(tensor, whole[tuple(slice(size) for size in tensor.shape)])


def test_shipped_weights_and_lyrics_are_those_of_the_full_reference(full_reference: Reference) -> None:
    shipped = load_file(SMALL / WEIGHTS)
    for part in {key.partition("/")[0] for key in shipped}:
        full = load_file(full_reference.checkpoint / part / weights_file(part))
        for key in shipped:
            owner, _, name = key.partition("/")
            table, _, kind = name.partition("@")
            if owner != part or kind == "indices":
                continue
            want = full[table][shipped[f"{part}/{table}@indices"]] if kind else full[table]
            assert torch.equal(shipped[key], want), key
        config = "config.json"
        small_config = json.loads((SMALL_REFERENCE.root / "checkpoint" / part / config).read_text("utf-8"))
        assert small_config == json.loads((full_reference.checkpoint / part / config).read_text("utf-8"))
    assert SMALL_REFERENCE.tokenization == full_reference.tokenization


def test_the_drawn_checkpoint_is_whole() -> None:
    assert all((SMALL_REFERENCE.checkpoint / part).is_dir() for part in ("umt5-base", "music_vocoder"))
