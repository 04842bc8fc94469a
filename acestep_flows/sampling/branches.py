"""The conditions of each guidance branch (spec 02 sections 3.1 and 3.2).

"Null" means zeros at the inputs of the condition projections, under the masks of the conditional branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.queries import BranchName
from acestep_flows.values import FloatArray, LyricStates, PromptStates


@dataclass(frozen=True, eq=False)
class Branch:
    """The conditions of one branch, before they are projected.

    Attributes:
        text: (L, text width) text encoder states.
        text_mask: (L,).
        lyrics: (M, lyric width) lyric encoder states.
        lyric_mask: (M,).
    """

    text: Tensor
    text_mask: Tensor
    lyrics: Tensor
    lyric_mask: Tensor


Branches = Mapping[BranchName, Branch]


def song_branches(prompt: PromptStates, lyrics: LyricStates, options: SamplerOptions) -> Branches:
    """The branches of a song under `options`, in every task but edit."""
    zero_text = torch.zeros(prompt.states.shape)
    weak_text = options.erg_tag
    if options.compatibility == "upstream" and not options.erg_lyric:
        weak_text = False  # upstream weakens the prompt only together with the lyrics
    null_lyrics = lyrics.weak if options.erg_lyric else lyrics.blank

    branches: dict[BranchName, Branch] = {"conditional": _branch(prompt, lyrics, prompt.states, lyrics.states)}
    if options.guided:
        branches["null"] = _branch(prompt, lyrics, prompt.weak if weak_text else zero_text, null_lyrics)
    if options.double_condition:
        branches["text_only"] = _branch(prompt, lyrics, prompt.states, null_lyrics)
    return branches


def edit_branches(
    source: tuple[PromptStates, LyricStates], target: tuple[PromptStates, LyricStates], options: SamplerOptions
) -> Branches:
    """The branches of an edit: the prompt and lyrics of the source song, and those of the target."""
    branches: dict[BranchName, Branch] = {
        "source": _branch(*source, source[0].states, source[1].states),
        "target": _branch(*target, target[0].states, target[1].states),
    }
    if options.guided:
        branches |= {"source_null": empty(branches["source"]), "target_null": empty(branches["target"])}
    return branches


def empty(branch: Branch) -> Branch:
    """The null branch of edit and of training previews: zero text, and lyrics masked out altogether."""
    return Branch(torch.zeros_like(branch.text), branch.text_mask, branch.lyrics, torch.zeros_like(branch.lyric_mask))


def _branch(prompt: PromptStates, lyrics: LyricStates, text: FloatArray | Tensor, states: FloatArray) -> Branch:
    return Branch(
        *(
            torch.tensor(part) if not isinstance(part, Tensor) else part
            for part in (text, prompt.mask, states, lyrics.mask)
        )
    )
