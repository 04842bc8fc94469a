from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep_flows.sampling.branches import Branch, Branches, edit_branches, song_branches
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.values import FloatArray, LyricStates, PromptStates


def states(length: int, width: int, value: float) -> FloatArray:
    return np.full((length, width), value, np.float32)


def ones(length: int) -> FloatArray:
    return np.ones(length, np.float32)


PROMPT = PromptStates("pop", states(2, 3, 1.0), states(2, 3, 2.0), ones(2))
LYRICS = LyricStates("la", np.array([5, 6]), ones(2), states(2, 4, 1.0), states(2, 4, 2.0), states(2, 4, 3.0))
NORMAL, WEAK, BLANK, NOTHING = 1.0, 2.0, 3.0, 0.0


def branches(**choices: Any) -> Branches:
    return song_branches(PROMPT, LYRICS, SamplerOptions.model_validate(choices))


def made_of(branch: Branch) -> tuple[float, float]:
    """Which states a branch has, of prompt and lyrics; its masks are always the conditional one's."""

    def single(tensor: Tensor) -> float:
        return float(tensor.unique())

    assert branch.text_mask.all()
    assert branch.lyric_mask.all()
    return single(branch.text), single(branch.lyrics)


@pytest.mark.parametrize(
    ("tag", "lyric", "corrected", "upstream"),
    [
        (True, True, (WEAK, WEAK), (WEAK, WEAK)),
        (False, True, (NOTHING, WEAK), (NOTHING, WEAK)),
        (True, False, (WEAK, BLANK), (NOTHING, BLANK)),
        (False, False, (NOTHING, BLANK), (NOTHING, BLANK)),
    ],
)
def test_null(tag: bool, lyric: bool, corrected: tuple[float, float], upstream: tuple[float, float]) -> None:
    """Prompt and lyrics are weakened each by its own switch. Upstream needs the lyric one for both."""
    assert made_of(branches(erg_tag=tag, erg_lyric=lyric)["null"]) == corrected
    assert made_of(branches(erg_tag=tag, erg_lyric=lyric, compatibility="upstream")["null"]) == upstream


@pytest.mark.parametrize(("lyric", "expected"), [(True, (NORMAL, WEAK)), (False, (NORMAL, BLANK))])
def test_text_only(lyric: bool, expected: tuple[float, float]) -> None:
    both = branches(erg_lyric=lyric, guidance_scale_text=5, guidance_scale_lyric=2)
    assert made_of(both["text_only"]) == expected
    assert made_of(both["conditional"]) == (NORMAL, NORMAL)


def test_only_what_is_asked_for() -> None:
    assert set(branches(guidance_scale=1.0)) == {"conditional"}
    assert set(branches()) == {"conditional", "null"}


def test_edit_masks_the_lyrics_of_its_null_branches() -> None:
    other = PromptStates("rock", states(3, 3, 7.0), states(3, 3, 0.0), ones(3))
    made = edit_branches((PROMPT, LYRICS), (other, LYRICS), SamplerOptions())
    assert set(made) == {"source", "source_null", "target", "target_null"}
    assert made_of(made["source"]) == (NORMAL, NORMAL)
    assert made["target"].text.shape == (3, 3)
    null = made["target_null"]
    assert not null.text.any()
    assert torch.equal(null.text_mask, torch.ones(3))
    assert not null.lyric_mask.any()
    assert set(edit_branches((PROMPT, LYRICS), (other, LYRICS), SamplerOptions(guidance_scale=1.0))) == {
        "source",
        "target",
    }
