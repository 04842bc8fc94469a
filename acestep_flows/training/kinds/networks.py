"""A checkpoint's networks in training: copies in float32 whose parameters can require gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.layout import ALIASES
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.placement import Placement
from acestep_flows.model.text_encoder import TextEncoder
from acestep_flows.model.transformer import Transformer
from acestep_flows.text.lyrics import LyricTokenizer
from acestep_flows.training.kinds import training_forward
from acestep_flows.training.kinds.conditions import Blanks
from acestep_flows.training.kinds.text_states import TextStates
from acestep_flows.training.kinds.training_forward import ConditionBatch

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class WordTokens:
    """Words of a batch: prompt ids and mask (B, L), lyric ids and mask (B, M), and which of them are blanked."""

    text_ids: Tensor
    text_mask: Tensor
    lyric_ids: Tensor
    lyric_mask: Tensor
    blanks: Blanks

    def to(self, device: str) -> WordTokens:
        """The same words on `device`."""
        text, lyrics = (self.text_ids, self.text_mask), (self.lyric_ids, self.lyric_mask)
        moved = [part.to(device) for part in (*text, *lyrics)]
        return WordTokens(moved[0], moved[1], moved[2], moved[3], self.blanks)


@dataclass(eq=False)
class TrainingNetworks:
    """All networks between prompts and lyrics and the predicted velocity."""

    transformer: Transformer
    projector: ConditionProjector
    lyric_encoder: LyricEncoder
    text_encoder: TextEncoder
    lyric_tokenizer: LyricTokenizer
    text_states: TextStates

    @classmethod
    def load(cls, source: Checkpoint, device: str, text_cache: int = 0) -> TrainingNetworks:
        """Read the networks in fp32. No parameter requires a gradient.

        Args:
            text_cache: bytes of text states that are cached while the text encoder is frozen.
        """
        placement = Placement(device)
        text_encoder = TextEncoder.load(source, placement)
        _with_own_memory(text_encoder.model)
        return cls(
            _with_own_memory(Transformer.load(source, placement)),
            _with_own_memory(ConditionProjector.load(source, placement)),
            _with_own_memory(LyricEncoder.load(source, placement)),
            text_encoder,
            LyricTokenizer(source.lyric_vocab),
            TextStates(text_encoder.model, text_cache),
        )

    @property
    def published(self) -> dict[str, nn.Module]:
        """The networks whose tensors are in the transformer's weights file, by name."""
        return {"transformer": self.transformer, "projector": self.projector, "lyric_encoder": self.lyric_encoder}

    @property
    def text(self) -> nn.Module:
        """The text encoder's network."""
        return self.text_encoder.model

    def condition(self, words: WordTokens, *, checkpointing: bool = False) -> ConditionBatch:
        """Encode `words` into the transformer's conditions. States of a frozen text encoder come from a cache.

        Args:
            checkpointing: recompute the lyric encoder's activations in the backward pass instead of keeping them.
        """
        if any(parameter.requires_grad for parameter in self.text.parameters()):
            text = self.text(words.text_ids, words.text_mask)
        else:
            text = self.text_states.of(words.text_ids, words.text_mask)
        ids, mask = words.blanks.blank_lyrics(words.lyric_ids, words.lyric_mask)
        encode = self.lyric_encoder
        lyrics = checkpoint(encode, ids, mask, use_reentrant=False) if checkpointing else encode(ids, mask)
        return training_forward.condition_batch(
            self.projector, words.blanks.blank_text(text), words.text_mask.float(), lyrics, mask
        )

    def transformer_tensors(self) -> dict[str, Tensor]:
        """The tensors of the transformer's weights file, under their published names."""
        return {name: tensor for module in self.published.values() for name, tensor in module.state_dict().items()}

    def text_tensors(self) -> dict[str, Tensor]:
        """The tensors of the text encoder's weights file."""
        return {name: tensor for name, tensor in self.text.state_dict().items() if name not in ALIASES}


def _with_own_memory(module: M) -> M:
    """`module` with copied parameters, as the loaded ones may be the memory-mapped file. They require no gradients."""
    copies: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if id(parameter) not in copies:
                copies[id(parameter)] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
            setattr(part, name, copies[id(parameter)])
    return module
