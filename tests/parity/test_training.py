"""Loss terms and gradients of a training step, learning rates, drawn timesteps (spec 05 sections 2 and 3)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.placement import Placement
from acestep_flows.model.repa import RepaHeads
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.schedule import SHIFT, TRAINING_STEPS
from acestep_flows.training.kinds import objective, training_forward
from acestep_flows.training.kinds.flow import FlowSettings, draw_levels, flow_loss
from acestep_flows.training.loop.recipe import LoopSettings
from acestep_flows.training.loop.schedule import learning_rate
from tests.parity.reference import Case, Reference

GOLDEN = "training.safetensors"

STEP = {
    "target_latents",
    "attention_mask",
    "encoder_text_hidden_states",
    "text_attention_mask",
    "speaker_embds",
    "lyric_token_ids",
    "lyric_mask",
    "noise",
    "normal_draw",
    "timesteps",
    "sigmas",
}


@pytest.fixture(scope="module")
def checkpoint(reference: Reference) -> Checkpoint:
    return Checkpoint.open(reference.checkpoint)


def test_training(case: Case, checkpoint: Checkpoint) -> None:
    if {name for name in case.inputs if not name.startswith("ssl_")} == STEP:
        if not set(case.params) <= {"ssl_coeff", "shift", "mode"}:
            case.unknown()
        assert case.params["shift"] == SHIFT
        training_step(case, checkpoint)
        if bool(case.inputs["attention_mask"].all()):  # what the goldens do beyond a song's end, training does not
            training_step(case, checkpoint, whole=True)
    elif set(case.outputs) == {"lr"} and not case.inputs:
        learning_rates(case)
    elif set(case.outputs) == {"timesteps"} and not case.inputs:
        drawn_timesteps(case)
    else:
        case.unknown()


def training_step(case: Case, checkpoint: Checkpoint, *, whole: bool = False) -> None:
    """One step as songs are served, or with the `whole` batch at once as they are learnt."""
    given = case.inputs
    parts = [part.load(checkpoint, Placement()) for part in (LyricEncoder, ConditionProjector, Transformer, RepaHeads)]
    lyric_encoder, projector, transformer, heads = (trainable(part) for part in parts)

    timesteps = objective.timesteps_from_normal(given["normal_draw"])
    assert torch.equal(timesteps, given["timesteps"])
    sigmas = given["sigmas"]
    lyrics = lyric_encoder(given["lyric_token_ids"], given["lyric_mask"])
    states, mask = projector(
        given["encoder_text_hidden_states"],
        given["text_attention_mask"],
        lyrics,
        given["lyric_mask"],
        given["speaker_embds"],
    )
    assert isinstance(transformer, Transformer)
    config = transformer.config
    x = objective.add_noise(given["target_latents"], given["noise"], sigmas)
    if whole:
        heard = training_forward.ConditionBatch(states, mask.bool(), torch.arange(states.shape[1]).expand(mask.shape))
        velocity, after = training_forward.predict(transformer, x, timesteps, heard, depths=config.ssl_encoder_depths)
        hidden = [after[depth] for depth in config.ssl_encoder_depths]
    else:
        velocity, hidden = transformer.forward_with_states(
            x,
            timesteps,
            [transformer.encode_condition(*row) for row in zip(states, mask, strict=True)],
            config.ssl_encoder_depths,
            frames=[int(count) for count in given["attention_mask"].sum(dim=1)],
            exact=False,
        )
    teachers = {name: [given[f"ssl_{name}_{row}"] for row in range(len(x))] for name in config.ssl_names}
    target, noise, mask = given["target_latents"], given["noise"], given["attention_mask"]
    denoising = flow_loss(velocity, x, target, noise, sigmas, mask, FlowSettings())
    loss = objective.combine(denoising, heads(hidden, teachers), case.params["ssl_coeff"])
    loss.total.backward()

    parameters = {name: parameter for part in parts for name, parameter in part.named_parameters()}
    for name in case.outputs:
        case.assert_close(name, outcome(name, loss, parameters))


def trainable(part: nn.Module) -> nn.Module:
    """The part with weights of its own: loaded ones may share their memory with the file."""
    for parameter in part.parameters():
        parameter.data = parameter.data.clone()
    return part.requires_grad_(True)


def outcome(name: str, loss: objective.Loss, parameters: dict[str, nn.Parameter]) -> Tensor:
    """The output called `name` in the index."""
    gradients: dict[str, Tensor] = {
        f"grad.{key}": value.grad for key, value in parameters.items() if value.grad is not None
    }
    if name in gradients:
        return gradients[name]
    if name == "grad_norm":
        norm: Tensor = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
        return norm
    if name == "loss":
        return loss.total
    if name == "denoising_loss":
        return loss.denoising
    distance: Tensor = loss.alignment[name.removesuffix("_loss")]
    return distance


def learning_rates(case: Case) -> None:
    """The rates of the loop; what a recipe leaves out is as recorded."""
    known = {"optimizer", "learning_rate", "betas", "weight_decay", "warmup_steps", "max_steps"}
    if not set(case.params) <= known | {"gradient_clip_val", "gradient_clip_algorithm"}:
        case.unknown()
    settings = LoopSettings(steps=case.params["max_steps"], warmup=case.params["warmup_steps"])
    assert settings.learning_rate == case.params["learning_rate"]
    assert list(settings.betas) == case.params["betas"]
    assert settings.weight_decay == case.params["weight_decay"]
    assert settings.clip == case.params["gradient_clip_val"]
    rates = [learning_rate(settings, step) for step in range(len(case.outputs["lr"]))]
    case.assert_close("lr", torch.tensor(rates, dtype=torch.float64))


def drawn_timesteps(case: Case) -> None:
    if not set(case.params) <= {"torch_manual_seed", "batch", "logit_mean", "logit_std", "formula"}:
        case.unknown()
    assert (case.params["logit_mean"], case.params["logit_std"]) == (0.0, 1.0)
    torch.manual_seed(case.params["torch_manual_seed"])
    case.assert_close("timesteps", TRAINING_STEPS * draw_levels(case.params["batch"], FlowSettings()))
