"""Tokenise lyrics and run them through the lyric encoder (spec 03 section 2, 01 section 6)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from acestep_flows.stages.adapted_networks import AdapterCache
from acestep_flows.stages.batching import group_by_length, run_groups, run_item
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.stages.text_params import LyricText
from acestep_flows.stages.weights_name import WeightsName
from acestep_flows.values import Compatibility, LyricStates

if TYPE_CHECKING:
    from torch import Tensor

    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.lyric_encoder import LyricEncoder
    from acestep_flows.model.placement import Placement
    from acestep_flows.text.lyrics import TokenizedLyrics

WEAKENED = 0.01
"""ERG temperature of the lyric encoder (spec 02 section 3.1)."""

PADDED = 8192
"""Tokens of one forward pass, padding included. The memory of attention grows with the square of a song's tokens."""


class EncodeLyrics(Stage):
    """Encode the lyrics in the three forms guidance needs: as written, weakened, and blanked.

    Empty lyrics mean an instrumental. Structure tags such as [verse], [chorus] and [inst] stand on their own lines;
    other ways of writing them are understood, and time stamps are taken off. `skipped` says what cannot be sung.
    """

    name, version = "encode_lyrics", 3
    parts = ("ace_step_transformer",)
    batches_items = True

    class Params(StageParams):
        lyrics: LyricText = Field(
            "", description="Lyrics, line by line, with structure tags; empty for an instrumental."
        )
        language: str | None = Field(
            None, description="Language of all lines ('en', 'zh', 'ja', ...); absent: detected."
        )
        adapter: WeightsName | None = Field(
            None, description="LoRA adapter, by name; in process also by folder.", json_schema_extra={"format": "path"}
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
        self.adapted: AdapterCache[LyricEncoder] = AdapterCache()

    @classmethod
    def weights(cls, checkpoint: Checkpoint, params: Any) -> tuple[str, ...]:
        """The encoder's weights, the vocabulary, and the adapter's."""
        adapter = () if params.adapter is None else (checkpoint.extra_digest("adapters", params.adapter),)
        return (*super().weights(checkpoint, params), checkpoint.digest("lyric-vocab"), *adapter)

    def run(self, batch: Sequence[Any], params: Sequence[Params], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        songs = [run_item(self.name, self._tokenize, param) for param in params]
        tokenized = [song for song in songs if isinstance(song, _LyricSong)]
        groups = group_by_length([len(song.tokens.ids) for song in tokenized], PADDED)
        group_of = {id(song): group for song, group in zip(tokenized, groups, strict=True)}

        def kind(song: _LyricSong) -> Hashable:
            return group_of[id(song)], song.params.adapter, song.params.adapter_weight

        return run_groups(self.name, self._encode, songs, kind, watch)

    def _tokenize(self, params: Params) -> _LyricSong:
        tokens = self.tokenizer.encode(params.lyrics, compatibility=params.compatibility, language=params.language)
        return _LyricSong(params, tokens)

    def _encode(self, songs: list[_LyricSong]) -> list[Out]:
        """Songs under one adapter, padded to the longest. Masked tokens do not change the others."""
        import torch

        ids, mask = (
            torch.from_numpy(_padded([getattr(song.tokens, name) for song in songs])).to(self.device)
            for name in ("ids", "mask")
        )
        adapter, weight = songs[0].params.adapter, songs[0].params.adapter_weight
        encoder = self.adapted.under(
            self.checkpoint, self.encoder, adapter, weight, lambda loaded: loaded.apply(self.encoder, weight)
        )
        with torch.inference_mode():
            states = encoder(ids, mask)
            weak = encoder(ids, mask, erg_temperature=WEAKENED)
            blank = encoder(torch.zeros_like(ids), mask)
        forms = [form.float().cpu() for form in (states, weak, blank)]
        return [
            self._out(song, *(form[row, : len(song.tokens.ids)] for form in forms)) for row, song in enumerate(songs)
        ]

    def _out(self, song: _LyricSong, states: Tensor, weak: Tensor, blank: Tensor) -> Out:
        return self.Out(
            LyricStates(
                text=song.params.lyrics,
                ids=song.tokens.ids,
                mask=song.tokens.mask.astype(np.float32),
                states=states.clone().numpy(),
                weak=weak.clone().numpy(),
                blank=blank.clone().numpy(),
                skipped=song.tokens.warnings,
            )
        )


def timed_lines(lyrics: str) -> list[tuple[float, str]]:
    """Seconds and words of the lines that have a time stamp (`[00:12.50]`, as in LRC files), in the order of time.

    The model is given no times: it decides when it sings.
    """
    from acestep_flows.text.lyric_lines import read_lines

    lines = [(line.at, line.text) for line in read_lines(lyrics).lines if line.at is not None]
    return sorted(lines, key=lambda line: line[0])


@dataclass(frozen=True, eq=False)
class _LyricSong:
    """An item with its lyrics as tokens."""

    params: EncodeLyrics.Params
    tokens: TokenizedLyrics


def _padded(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Rows as one array, with zeros after the shorter ones."""
    longest = max(map(len, rows))
    return np.stack([np.pad(row, (0, longest - len(row))) for row in rows])
