"""The checkpoint's networks, ready to be trained: their own memory, gradients where they are wanted."""

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
    """What a batch is told: prompt token ids and mask (B, L), lyric ids and mask (B, M), and what is blanked."""

    text_ids: Tensor
    text_mask: Tensor
    lyric_ids: Tensor
    lyric_mask: Tensor
    blanks: Blanks

    def to(self, device: str) -> WordTokens:
        """The same on `device`."""
        text, lyrics = (self.text_ids, self.text_mask), (self.lyric_ids, self.lyric_mask)
        moved = [part.to(device) for part in (*text, *lyrics)]
        return WordTokens(moved[0], moved[1], moved[2], moved[3], self.blanks)


@dataclass(eq=False)
class TrainingNetworks:
    """Everything between words and velocities."""

    transformer: Transformer
    projector: ConditionProjector
    lyric_encoder: LyricEncoder
    text_encoder: TextEncoder
    lyric_tokenizer: LyricTokenizer
    text_states: TextStates

    @classmethod
    def load(cls, source: Checkpoint, device: str, text_cache: int = 0) -> TrainingNetworks:
        """Read the four in fp32, none of them trained yet.

        Args:
            text_cache: bytes of text states that are kept while the text encoder is frozen.
        """
        placement = Placement(device)
        text_encoder = TextEncoder.load(source, placement)
        _own(text_encoder.model)
        return cls(
            _own(Transformer.load(source, placement)),
            _own(ConditionProjector.load(source, placement)),
            _own(LyricEncoder.load(source, placement)),
            text_encoder,
            LyricTokenizer(source.lyric_vocab),
            TextStates(text_encoder.model, text_cache),
        )

    @property
    def published(self) -> dict[str, nn.Module]:
        """The three whose tensors are those of the transformer's weights file."""
        return {"transformer": self.transformer, "projector": self.projector, "lyric_encoder": self.lyric_encoder}

    @property
    def text(self) -> nn.Module:
        """The text encoder's network."""
        return self.text_encoder.model

    def condition(self, words: WordTokens, *, checkpointing: bool = False) -> ConditionBatch:
        """What the transformer hears of `words`; a frozen text encoder's states are found again.

        Args:
            checkpointing: keep no activations of the lyric encoder; compute them again on the way back.
        """
        if any(parameter.requires_grad for parameter in self.text.parameters()):
            text = self.text(input_ids=words.text_ids, attention_mask=words.text_mask).last_hidden_state
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


def _own(module: M) -> M:
    """`module` with tensors of its own: those that were read may be the file itself, mapped into memory."""
    seen: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if id(parameter) not in seen:
                seen[id(parameter)] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
            setattr(part, name, seen[id(parameter)])
    return module
