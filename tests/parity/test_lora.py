"""Conditions and velocities with an adapter, at several weights and after changes of it (spec 05 section 5)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest

from acestep_flows.model.adapters import Adapter
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from tests.parity.reference import Case, Reference

GOLDEN = "lora.safetensors"


@dataclass(frozen=True)
class Network:
    """Everything an adapter covers."""

    lyric_encoder: LyricEncoder
    projector: ConditionProjector
    transformer: Transformer

    def adapted(self, adapter: Adapter, weight: float) -> Network:
        return replace(self, **{part.name: adapter.apply(getattr(self, part.name), weight) for part in fields(self)})


@pytest.fixture(scope="module")
def checkpoint(reference: Reference) -> Checkpoint:
    return Checkpoint.open(reference.checkpoint)


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> Network:
    where = Placement()
    return Network(
        LyricEncoder.load(checkpoint, where),
        ConditionProjector.load(checkpoint, where),
        Transformer.load(checkpoint, where),
    )


def test_lora(case: Case, reference: Reference, checkpoint: Checkpoint, network: Network) -> None:
    known = {"rank", "lora_alpha", "use_rslora", "scaling", "lora_weight", "effective_scaling", "keys", "sequence"}
    if not set(case.params) <= known or set(case.outputs) != {"encoder_hidden_states", "sample"}:
        case.unknown()
    if case.lora_file:
        config = checkpoint.config(TRANSFORMER)
        adapter = Adapter.load(reference.goldens / case.lora_file, config)
        check_settings(case, adapter)
        base = network
        for weight in case.params.get("sequence", [case.params.get("lora_weight", 1.0)]):
            network = base if weight == "none" else base.adapted(adapter, weight)
    elif case.params:
        case.unknown()
    run(case, network)


def check_settings(case: Case, adapter: Adapter) -> None:
    """What the index says about the adapter is what was read from its file."""
    if "keys" in case.params:
        assert 2 * len(adapter.layers) == case.params["keys"]
    if "rank" in case.params:
        assert {layer.rank for layer in adapter.layers.values()} == {case.params["rank"]}
    if "scaling" in case.params:
        assert adapter.scaling
        assert adapter.scaling.lora_alpha == case.params["lora_alpha"]
        assert adapter.scaling.use_rslora == case.params["use_rslora"]
        assert adapter.scaling.of("any", case.params["rank"]) == case.params["scaling"]


def run(case: Case, network: Network) -> None:
    given = case.inputs
    lyrics = network.lyric_encoder(given["lyric_token_idx"], given["lyric_mask"])
    states, mask = network.projector(
        given["encoder_text_hidden_states"],
        given["text_attention_mask"],
        lyrics,
        given["lyric_mask"],
        given["speaker_embeds"],
    )
    case.assert_close("encoder_hidden_states", states)
    memories = [network.transformer.encode_condition(*row) for row in zip(states, mask, strict=True)]
    frames = [int(count) for count in given["attention_mask"].sum(dim=1)]
    velocity = network.transformer(given["hidden_states"], given["timestep"], memories, frames=frames, exact=False)
    case.assert_close("sample", velocity)
