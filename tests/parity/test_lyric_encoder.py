"""Lyric ids to lyric states and projected tokens (spec 01 section 6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.placement import Placement
from tests.parity.observe import observed
from tests.parity.reference import Case, Reference

GOLDEN = "lyric_encoder.safetensors"


@pytest.fixture(scope="module")
def checkpoint(reference: Reference) -> Checkpoint:
    return Checkpoint.open(reference.checkpoint)


def test_lyric_encoder(case: Case, checkpoint: Checkpoint) -> None:
    if set(case.inputs) != {"lyric_token_idx", "lyric_mask"} or not set(case.params) <= {"erg", "tau", "erg_blocks"}:
        case.unknown()
    encoder = LyricEncoder.load(checkpoint, Placement())
    if case.params["erg"]:
        encoder.config = replace(encoder.config, lyric_encoder_erg_blocks=tuple(case.params["erg_blocks"]))
    layers = encoder.lyric_encoder
    watched = {
        "lyric_embs": encoder.lyric_embs,
        "after_linear_embed": layers.embed["out"],
        "after_block_0": layers.encoders[0],
    }
    with observed(watched) as seen:
        states = encoder(case.inputs["lyric_token_idx"], case.inputs["lyric_mask"], case.params["tau"] or 1.0)
    seen["encoder_out"] = states
    seen["projected"] = ConditionProjector.load(checkpoint, Placement()).lyric_proj(states)
    for name in case.outputs:
        case.assert_close(name, seen[name]) if name in seen else case.unknown()
