"""The text encoder: batches, truncation, and ERG that affects no other call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from acestep_flows.model.placement import Placement
from acestep_flows.model.text_encoder import MAX_TOKENS, TextEncoder
from tests.model.small import small_checkpoint

PROMPTS = ["funk, pop, 105 BPM, female vocals", "", "ambient"]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder.load(small_checkpoint(), Placement())


@pytest.mark.parametrize("erg_temperature", [1.0, 0.01])
def test_a_prompt_in_a_batch_is_encoded_as_if_alone(encoder: TextEncoder, erg_temperature: float) -> None:
    states, mask = encoder.encode(PROMPTS, erg_temperature=erg_temperature)
    for row, prompt in enumerate(PROMPTS):
        alone, whole = encoder.encode([prompt], erg_temperature=erg_temperature)
        length = int(mask[row].sum())
        assert whole.shape == (1, length)
        torch.testing.assert_close(states[row, :length], alone[0], atol=1e-5, rtol=0)


def test_long_prompts_are_cut(encoder: TextEncoder) -> None:
    states, mask = encoder.encode(["la " * 1000])
    assert states.shape[1] == MAX_TOKENS
    assert mask.sum() == MAX_TOKENS
    ids, _ = encoder.tokenize(["la " * 1000])
    assert ids[0, -1] == 1, "the end mark is not cut off"


def test_states_are_float32_for_any_dtype() -> None:
    encoder = TextEncoder.load(small_checkpoint(), Placement(dtype="bfloat16"))
    states, mask = encoder.encode(PROMPTS)
    assert states.dtype == mask.dtype == torch.float32
    states.numpy()


def test_erg_changes_the_states_and_leaves_the_encoder_unchanged(encoder: TextEncoder) -> None:
    before, _ = encoder.encode(PROMPTS)
    weak, _ = encoder.encode(PROMPTS, erg_temperature=0.01)
    after, _ = encoder.encode(PROMPTS)
    assert (weak - before).abs().max() > 1e-3
    assert torch.equal(before, after)


def test_erg_acts_only_on_given_blocks_that_exist(encoder: TextEncoder) -> None:
    ids, mask = encoder.tokenize(PROMPTS)
    plain = encoder.states(ids, mask)
    assert torch.equal(encoder.states(ids, mask, erg_temperature=0.01, blocks=(8, 9)), plain), (
        "this encoder has three blocks"
    )
    first, last = (encoder.states(ids, mask, erg_temperature=0.01, blocks=(block, block)) for block in (0, 2))
    assert not torch.equal(first, last)
    assert torch.equal(encoder.states(ids, mask, erg_temperature=0.01, blocks=(2, 5)), last)


def test_calls_with_and_without_erg_may_overlap(encoder: TextEncoder) -> None:
    factors = [1.0, 0.01, 0.5] * 8
    expected = {factor: encoder.encode(PROMPTS, erg_temperature=factor)[0] for factor in set(factors)}
    with ThreadPoolExecutor(4) as pool:
        for factor, (states, _) in zip(
            factors, pool.map(lambda f: encoder.encode(PROMPTS, erg_temperature=f), factors), strict=True
        ):
            torch.testing.assert_close(states, expected[factor], atol=1e-6, rtol=0)
