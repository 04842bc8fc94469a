"""Prompts to token ids and text states, plain and weakened (spec 03 section 1, 02 section 3.1)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.text_encoder import MAX_TOKENS, TextEncoder
from tests.parity.reference import Case, Reference

GOLDEN = "text_encoder.safetensors"


@pytest.fixture(scope="module")
def encoder(reference: Reference) -> TextEncoder:
    return TextEncoder.load(Checkpoint.open(reference.checkpoint), Placement())


def test_text_encoder(case: Case, encoder: TextEncoder) -> None:
    known = {"prompts", "text_max_length", "tau", "l_min", "l_max"}
    if set(case.inputs) != {"input_ids", "attention_mask"} or not set(case.params) <= known:
        case.unknown()
    assert case.params.get("text_max_length", MAX_TOKENS) == MAX_TOKENS
    ids, mask = encoder.tokenize(case.params["prompts"])
    assert torch.equal(ids, case.inputs["input_ids"])
    assert torch.equal(mask, case.inputs["attention_mask"])

    weakening = {}
    if "tau" in case.params:
        # The index counts the last block out, we count it in.
        weakening = {"erg_temperature": case.params["tau"], "blocks": (case.params["l_min"], case.params["l_max"] - 1)}
    first_block: list[Tensor] = []

    def keep(_block: object, _input: object, output: Tensor) -> None:
        first_block.append(output)

    hook = encoder.model.get_submodule("encoder.block.0").register_forward_hook(keep)
    try:
        states = encoder.states(ids, mask, **weakening)
    finally:
        hook.remove()
    for name in case.outputs:
        if name == "last_hidden_state":
            case.assert_close(name, states)
        elif name == "after_block_0":
            case.assert_close(name, first_block[0])
        else:
            case.unknown()
