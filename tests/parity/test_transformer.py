"""Conditions, velocities and alignment losses of the transformer, with intermediate values (spec 01)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.placement import Placement
from acestep_flows.model.repa import RepaHeads
from acestep_flows.model.transformer import Transformer
from tests.parity.observe import observed, replaced
from tests.parity.reference import Case, Reference

GOLDEN = "transformer.safetensors"

CONDITION = {"encoder_text_hidden_states", "text_attention_mask", "speaker_embeds", "lyric_token_idx", "lyric_mask"}
LATENTS = {"hidden_states", "attention_mask", "timestep"}
ENCODED = {"encoder_hidden_states", "encoder_hidden_mask"}
CONTROL = "block_controlnet_hidden_states"
STORED = {"after_proj_in", "before_final_layer"}
"""Intermediate values that a case may give, where the checkpoint lacks the layers that compute them."""


@pytest.fixture(scope="module")
def checkpoint(reference: Reference) -> Checkpoint:
    return Checkpoint.open(reference.checkpoint)


@pytest.fixture(scope="module")
def transformer(checkpoint: Checkpoint) -> Transformer:
    return Transformer.load(checkpoint, Placement())


def test_transformer(case: Case, checkpoint: Checkpoint, transformer: Transformer) -> None:
    inputs = {name for name in case.inputs if not name.startswith("ssl_")}
    if inputs == CONDITION:
        encode(case, checkpoint)
    elif inputs - {CONTROL} - STORED == LATENTS | ENCODED:
        decode(case, transformer)
    elif inputs == CONDITION | LATENTS:
        align(case, checkpoint, transformer)
    else:
        case.unknown()


def encode(case: Case, checkpoint: Checkpoint) -> None:
    if not set(case.params) <= {"tau", "text_null", "lyric_blocks"}:
        case.unknown()
    encoder = LyricEncoder.load(checkpoint, Placement())
    if "lyric_blocks" in case.params:
        encoder.config = replace(encoder.config, lyric_encoder_erg_blocks=tuple(case.params["lyric_blocks"]))
    states, mask = condition(case, checkpoint, encoder, case.params.get("tau", 1.0))
    compare(case, {"encoder_hidden_states": states, "encoder_hidden_mask": mask})


def condition(
    case: Case, checkpoint: Checkpoint, encoder: LyricEncoder, erg_temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The condition (B, S, D) and mask of the case's text, speaker and lyrics."""
    lyric_mask = case.inputs["lyric_mask"]
    lyrics = encoder(case.inputs["lyric_token_idx"], lyric_mask, erg_temperature)
    states, mask = ConditionProjector.load(checkpoint, Placement())(
        case.inputs["encoder_text_hidden_states"],
        case.inputs["text_attention_mask"],
        lyrics,
        lyric_mask,
        case.inputs["speaker_embeds"],
    )
    return states, mask


def decode(case: Case, transformer: Transformer) -> None:
    if not set(case.params) <= {"erg_tau", "erg_blocks", "controlnet_scale"}:
        case.unknown()
    memories = remember(transformer, case.inputs["encoder_hidden_states"], case.inputs["encoder_hidden_mask"])
    erg_temperature = None
    config = transformer.config
    if case.params["erg_tau"] is not None:
        erg_temperature = [case.params["erg_tau"]] * len(memories)
        first, end = case.params["erg_blocks"]  # the index counts the last block out, we count it in
        config = replace(config, erg_blocks=(first, end - 1))
    block = transformer.blocks[0]
    watched: dict[str, nn.Module] = {
        "after_proj_in": transformer.proj_in,
        "embedded_timestep": transformer.timestep_embedder,
        "temb": transformer.t_block,
        "block0_self_attn": block.attn,
        "block0_cross_attn": block.cross_attn,
        "block0_ff": block.ff,
        "after_block_0": block,
        "before_final_layer": transformer.blocks[-1],
    }
    published, transformer.config = transformer.config, config
    try:
        stored = {name: case.inputs[name] for name in STORED & set(case.inputs)}
        with replaced({watched[name]: tensor for name, tensor in stored.items()}), observed(watched) as seen:
            seen["sample"] = transformer(
                case.inputs["hidden_states"],
                case.inputs["timestep"],
                memories,
                frames=frames(case),
                erg_temperature=erg_temperature,
                control=case.inputs.get(CONTROL),
                control_scale=case.params.get("controlnet_scale", 1.0),
                exact=False,
            )
    finally:
        transformer.config = published
    compare(case, seen)


def align(case: Case, checkpoint: Checkpoint, transformer: Transformer) -> None:
    if not set(case.params) <= {"ssl_names", "ssl_encoder_depths"}:
        case.unknown()
    states, mask = condition(case, checkpoint, LyricEncoder.load(checkpoint, Placement()))
    heads = RepaHeads.load(checkpoint, Placement())
    velocity, hidden = transformer.forward_with_states(
        case.inputs["hidden_states"],
        case.inputs["timestep"],
        remember(transformer, states, mask),
        transformer.config.ssl_encoder_depths,
        frames=frames(case),
        exact=False,
    )
    losses = heads(hidden, teachers(case, heads.config.ssl_names, len(velocity)))
    compare(case, {"sample": velocity} | {f"proj_loss_{name}": loss for name, loss in losses.items()})


def teachers(case: Case, names: Sequence[str], batch: int) -> dict[str, list[Tensor]]:
    """The recorded teacher states by teacher, one (frames, width) per row."""
    return {name: [case.inputs[f"ssl_{name}_{row}"] for row in range(batch)] for name in names}


def remember(transformer: Transformer, states: Tensor, mask: Tensor) -> list[EncodedConditions]:
    return [transformer.encode_condition(*row) for row in zip(states, mask, strict=True)]


def frames(case: Case) -> list[int]:
    """Real frames of each row; the recorded masks are padded on the right."""
    mask = case.inputs["attention_mask"]
    assert torch.equal(mask, mask.sort(dim=1, descending=True).values), "a mask with holes"
    return [int(count) for count in mask.sum(dim=1)]


def compare(case: Case, got: dict[str, Tensor]) -> None:
    for name in case.outputs:
        case.assert_close(name, got[name]) if name in got else case.unknown()
