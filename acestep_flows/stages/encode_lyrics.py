"""Tokenise lyrics and run them through the lyric encoder (spec 03 section 2, 01 section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from acestep_flows.compatibility import Compatibility
from acestep_flows.stages.contract import UNWATCHED, Stage, StageParams, Watch
from acestep_flows.stages.item import attempt
from acestep_flows.stages.refined import Recent, under_adapter
from acestep_flows.stages.texts import LyricText
from acestep_flows.values import LyricStates

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.lyric_encoder import LyricEncoder
    from acestep_flows.model.placement import Placement

WEAKENED = 0.01
"""ERG temperature of the lyric encoder (spec 02 section 3.1)."""


class EncodeLyrics(Stage):
    """Encode the lyrics in the three forms guidance needs: as written, weakened, and blanked.

    Empty lyrics mean an instrumental. Structure tags such as [verse], [chorus] and [inst] stand on their own lines.
    """

    name, version = "encode_lyrics", 1
    parts = ("ace_step_transformer",)

    class Params(StageParams):
        lyrics: LyricText = Field(
            "", description="Lyrics, line by line, with structure tags; empty for an instrumental."
        )
        language: str | None = Field(
            None, description="Language of all lines ('en', 'zh', 'ja', ...); absent: detected."
        )
        adapter: str | None = Field(
            None, description="LoRA adapter, by name or folder.", json_schema_extra={"format": "path"}
        )
        adapter_weight: float = Field(1.0, ge=-10, le=10, description="Factor on the adapter's own scaling.")
        compatibility: Compatibility = Field("corrected", description="'upstream' keeps upstream's language quirks.")

    @dataclass(frozen=True)
    class Out:
        lyrics: LyricStates

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        from acestep_flows.model.lyric_encoder import LyricEncoder
        from acestep_flows.text.lyrics import LyricTokenizer

        self.checkpoint, self.device = checkpoint, placement.device
        self.tokenizer = LyricTokenizer(checkpoint.lyric_vocab)
        self.encoder = LyricEncoder.load(checkpoint, placement)
        self.refined: Recent[LyricEncoder] = Recent()

    @classmethod
    def weights(cls, checkpoint: Checkpoint, params: Any) -> tuple[str, ...]:
        """The encoder's weights, the vocabulary, and the adapter's."""
        adapter = () if params.adapter is None else (checkpoint.extra_digest("adapters", params.adapter),)
        return (*super().weights(checkpoint, params), checkpoint.digest("lyric-vocab"), *adapter)

    def run(self, batch: Sequence[Any], params: Sequence[Params], watch: Watch = UNWATCHED) -> list[Any]:
        return [attempt(self.name, self._encode, param) for param in params]

    def _encode(self, params: Params) -> Out:
        import torch

        tokens = self.tokenizer.encode(params.lyrics, compatibility=params.compatibility, language=params.language)
        ids, mask = (torch.from_numpy(array)[None].to(self.device) for array in (tokens.ids, tokens.mask))
        weight = params.adapter_weight
        encoder = under_adapter(
            self.refined, self.checkpoint, self.encoder, params.adapter, weight, lambda a: a.apply(self.encoder, weight)
        )
        with torch.inference_mode():
            states = encoder(ids, mask)
            weak = encoder(ids, mask, weaken=WEAKENED)
            blank = encoder(torch.zeros_like(ids), mask)
        return self.Out(
            LyricStates(
                text=params.lyrics,
                ids=tokens.ids,
                mask=tokens.mask.astype(np.float32),
                states=states[0].float().cpu().numpy(),
                weak=weak[0].float().cpu().numpy(),
                blank=blank[0].float().cpu().numpy(),
                skipped=tokens.warnings,
            )
        )
