"""Both forms of the network are one network; the form of GPUs is as many kernels for many rows as for one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.all_rows import AllRows
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.frame_mixing import FORMS, frame_mixing
from acestep_flows.model.kept_stacks import KEPT, KeptStacks
from acestep_flows.model.placement import Placement
from acestep_flows.model.row_by_row import RowByRow
from acestep_flows.model.transformer import Transformer
from acestep_flows.testing.kernel_count import KernelCount
from tests.model.small import small_checkpoint

FULL_SIZE = TransformerConfig(
    num_layers=24, num_attention_heads=20, attention_head_dim=128, mlp_ratio=2.5, rope_theta=1e6,
    speaker_embedding_dim=512, text_embedding_dim=768, lyric_encoder_vocab_size=6693, lyric_hidden_size=1024,
    ssl_names=("mert", "m-hubert"), ssl_encoder_depths=(8, 8), ssl_latent_dims=(1024, 768),
)  # fmt: skip
LENGTHS = {"one": (9,), "alike": (12, 12, 12), "ragged": (17, 1, 9, 16, 2), "one frame": (1,)}


@cache
def transformer(adapter: bool = False) -> Transformer:
    plain = Transformer.load(small_checkpoint(), Placement())
    if not adapter:
        return plain
    draw = torch.Generator().manual_seed(5)
    layers = {}
    for name in ("attn.to_q", "attn.to_v", "cross_attn.to_k", "cross_attn.to_out.0"):
        width = plain.config.width
        down, up = torch.randn(4, width, generator=draw) / 10, torch.randn(width, 4, generator=draw) / 10
        layers[f"transformer_blocks.1.{name}"] = LowRank(down, up)
    return Adapter(layers).apply(plain)


def both(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """What `work` gives row by row, and with all rows at once."""
    by_row = work()
    monkeypatch.setitem(FORMS, "cpu", AllRows())
    at_once = work()
    monkeypatch.undo()
    return by_row, at_once


def velocities(
    model: Transformer, frames: tuple[int, ...], exact: bool = True, controlled: bool = False, junk: float = 1e3
) -> Tensor:
    """Velocities of rows with conditions of all lengths, every other one under ERG, one in three controlled."""
    draw = torch.Generator().manual_seed(7)
    longest, width = max(frames), model.config.width
    latents = torch.stack(
        [pad(torch.randn(8, 16, count, generator=draw), (0, longest - count), value=junk) for count in frames]
    )
    conditions = []
    for index in range(len(frames)):
        mask = torch.ones(3 + 5 * index % 11)
        mask[1] = 0
        conditions.append(model.encode_condition(torch.randn(len(mask), width, generator=draw), mask))
    control = torch.randn(len(frames), longest, width, generator=draw)
    control[1::3] = 0
    velocity: Tensor = model(
        latents,
        torch.linspace(990, 10, len(frames)),
        conditions,
        frames=frames,
        erg_temperature=[0.01 if index % 2 else 1.0 for index in range(len(frames))],
        control=control if controlled else None,
        control_scale=torch.linspace(0.5, 1, len(frames)),
        exact=exact,
    )
    return torch.cat([row[..., :count] for row, count in zip(velocity, frames, strict=True)], dim=-1)


def test_the_form_goes_by_the_device() -> None:
    assert isinstance(frame_mixing(torch.device("cpu")), RowByRow)
    for device in ("cuda", "cuda:1", "mps", "meta"):
        assert isinstance(frame_mixing(torch.device(device)), AllRows)


@pytest.mark.parametrize("frames", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("controlled", [False, True])
@pytest.mark.parametrize("adapter", [False, True])
@torch.inference_mode()
def test_both_forms_are_one_network(
    monkeypatch: pytest.MonkeyPatch, frames: tuple[int, ...], controlled: bool, adapter: bool
) -> None:
    by_row, at_once = both(monkeypatch, lambda: velocities(transformer(adapter), frames, controlled=controlled))
    torch.testing.assert_close(at_once, by_row, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_both_forms_pad_as_upstream_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ragged = LENGTHS["ragged"]
    by_row, at_once = both(monkeypatch, lambda: velocities(transformer(), ragged, exact=False, junk=0.5))
    torch.testing.assert_close(at_once, by_row, atol=1e-5, rtol=0)
    assert (by_row - velocities(transformer(), ragged)).abs().max() > 1e-3


@torch.inference_mode()
def test_songs_among_others_equal_their_solo_results_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMS, "cpu", AllRows())
    draw = torch.Generator().manual_seed(1)
    conditions = [transformer().encode_condition(torch.randn(n, 128, generator=draw), torch.ones(n)) for n in (5, 9)]
    short, long = torch.randn(8, 16, 6, generator=draw), torch.randn(8, 16, 30, generator=draw)
    times = torch.tensor([700.0, 30.0])
    together = transformer()(torch.stack([pad(short, (0, 24)), long]), times, conditions, frames=[6, 30])
    alone = transformer()(short[None], times[:1], conditions[:1])
    torch.testing.assert_close(together[:1, ..., :6], alone, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_bfloat16_errs_no_more_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    half, ragged = Transformer.load(small_checkpoint(), Placement(dtype="bfloat16")), LENGTHS["ragged"]
    exact = velocities(transformer(), ragged)
    by_row, at_once = both(monkeypatch, lambda: velocities(half, ragged))
    assert (at_once - exact).norm() < 1.2 * (by_row - exact).norm()


def test_both_forms_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Transformer(transformer().config)

    def gradient() -> Tensor:
        model.zero_grad()
        velocities(model, LENGTHS["ragged"], controlled=True).square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])

    by_row, at_once = both(monkeypatch, gradient)
    assert by_row.abs().max() > 1e-3
    torch.testing.assert_close(at_once, by_row, atol=1e-5, rtol=1e-4)


def kernels(model: Transformer, rows: int, ragged: bool) -> int:
    """Kernels of a pass of songs of 30 s that have been together for a step."""
    with torch.inference_mode():
        sizes = [(24, 2, 20, 300 + row % 3, 128) for row in range(rows)]
        conditions = [EncodedConditions(torch.empty(size, dtype=model.dtype, device="meta")) for size in sizes]
        latents, timesteps = torch.empty(rows, 8, 16, 323, device="meta"), torch.empty(rows, device="meta")
        frames = [323 - row % 7 for row in range(rows)] if ragged else None
        erg_temperature = [1.0 if row % 2 else 0.01 for row in range(rows)]
        frame_mixing(latents.device).memories(conditions)
        with KernelCount() as count:
            model(latents, timesteps, conditions, frames=frames, erg_temperature=erg_temperature)
        total: int = count.total
    return total


def test_a_pass_is_as_many_kernels_for_many_rows_as_for_one() -> None:
    with torch.device("meta"):
        model = Transformer(FULL_SIZE).to(torch.bfloat16).requires_grad_(False)
    counts = [kernels(model, rows, ragged) for rows, ragged in ((1, False), (16, True), (64, True))]
    assert max(counts) <= 895
    assert max(counts) <= 1.05 * min(counts)


class Part:
    """Something that can be told apart and forgotten."""


@torch.inference_mode()
def test_stacks_are_made_once_for_the_same_songs() -> None:
    made: list[int] = []

    def make(parts: object) -> int:
        made.append(len(made))
        return made[-1]

    stacks, (a, b, c) = KeptStacks(make), (Part(), Part(), Part())
    assert [stacks.of([a, b]), stacks.of([a, b]), stacks.of([b, a]), stacks.of([a, b])] == [0, 0, 1, 0]
    with torch.inference_mode(False):
        assert [stacks.of([a, b]), stacks.of([a, b])] == [2, 3]  # with gradients every step has its own
    del c
    for _ in range(KEPT + 1):
        stacks.of([Part()])
    assert stacks.of([a, b]) == 0, "parts that are gone took no place"


@torch.inference_mode()
def test_a_stack_goes_with_its_songs() -> None:
    stacks: KeptStacks[Tensor] = KeptStacks(lambda parts: torch.zeros(1))
    first, second = Part(), Part()
    stacks.of([first, second])
    assert len(stacks) == 1
    del first
    assert len(stacks) == 0
