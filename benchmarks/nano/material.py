"""Shared material of the measurements: held-out clips, generated clips for them, and trained estimators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from typing import Any, TypeVar

import numpy as np

from acestep_flows.model.autoencoder import Autoencoder
from acestep_flows.model.vocoder import load_vocoder
from acestep_flows.training.synthesis import Piece, compose, render
from acestep_flows.training.synthesis.styles import STYLES
from acestep_flows.values import FloatArray, seconds_from_frames
from benchmarks.nano.listening import Centroids, Samples
from benchmarks.nano.player import Player

T = TypeVar("T")
R = TypeVar("R")

HELD_OUT = 9_000_000_000
"""First seed of the measured clips. Training uses much smaller seeds, or random ones below 2^62."""
FITTING = 9_500_000_000
"""First seed of the clips that the estimators are fitted to."""
LENGTH = seconds_from_frames(64)


@dataclass
class Material:
    """A player and held-out clips. Expensive material is made at first use and cached.

    Attributes:
        clips: number of captions for text2music.
        pairs: number of clips for control branches, edits and lyrics.
        first: number of the first clip. 0 gives the clips of the model card; others are for choosing settings.
        say: called with texts about the progress.
    """

    player: Player
    clips: int
    pairs: int
    first: int
    say: Callable[[str], None]

    @cached_property
    def pieces(self) -> list[Piece]:
        """Clips whose captions the model gets."""
        return [render(compose(HELD_OUT + self.first + index, seconds=LENGTH)) for index in range(self.clips)]

    @cached_property
    def generated(self) -> list[Samples]:
        """A generated clip for the caption of each piece."""
        return self.each("text2music", self.pieces, lambda index, piece: self.sample(piece, index + 1))

    @cached_property
    def coded(self) -> list[Samples]:
        """The pieces after autoencoder and decoder."""
        return self.each("coding", self.pieces, lambda _, piece: self.codec.round_trip(piece.mix))

    @cached_property
    def sung(self) -> list[Piece]:
        """Pieces with a voice and an accompaniment."""
        return list(islice(self._sung(), self.pairs))

    def _sung(self) -> Iterator[Piece]:
        for seed in count(HELD_OUT + 100_000 + self.first):
            score = compose(seed, seconds=LENGTH, vocal=("male", "female")[seed % 2])
            if score.sung and len(score.truth.parts) >= 3:
                yield render(score)

    @cached_property
    def codec(self) -> Codec:
        """The checkpoint's autoencoder and decoder."""
        return Codec(self.player)

    @cached_property
    def styles(self) -> Centroids:
        """Centroids of the styles."""
        labelled = [(name, FITTING + 100 * number + i) for number, name in enumerate(STYLES) for i in range(40)]
        return Centroids.fit([(name, render(compose(seed, seconds=LENGTH, style=name)).mix) for name, seed in labelled])

    @cached_property
    def instruments(self) -> Centroids:
        """Centroids of the stems, by the words that ask for them."""
        clips: dict[str, list[Samples]] = {}
        for index in range(200):
            piece = render(compose(FITTING + 50_000 + index, seconds=LENGTH, vocal="none"))
            for stem, samples in piece.stems.items():
                clips.setdefault(stem_name(piece, stem), []).append(samples)
        return Centroids.fit([(name, clip) for name, stems in clips.items() if len(stems) >= 4 for clip in stems[:12]])

    def sample(self, piece: Piece, seed: int) -> Samples:
        """Generate a clip for the tags and lyrics of a piece."""
        return self.player.audio("text2music", tags=piece.tags, lyrics=piece.lyrics, duration=LENGTH, seed=seed)

    def each(self, what: str, items: Sequence[T], make: Callable[[int, T], R]) -> list[R]:
        """Call `make` with number and item for every item, and report the progress."""
        results = []
        for index, item in enumerate(items):
            self.say(f"{what} {index + 1}/{len(items)}")
            results.append(make(index, item))
        return results


class Codec:
    """Autoencoder and decoder at 44.1 kHz, without the graphs' resampling to 48 kHz."""

    def __init__(self, player: Player) -> None:
        placement = player.runner.placement
        self.autoencoder = Autoencoder.load(player.checkpoint, placement, halves=["encoder", "decoder"])
        self.vocoder = load_vocoder(player.checkpoint, placement)

    def mel(self, samples: Samples) -> FloatArray:
        """The model's own log-mel (2, 128, frames)."""
        mel: FloatArray = self.autoencoder.log_mel(samples).cpu().numpy()
        return mel

    def decode_mel(self, mel: FloatArray) -> Samples:
        """Decode a log-mel (2, 128, frames) to audio."""
        samples: Samples = np.asarray(self.vocoder.decode(mel, overlap=False), np.float32)
        return samples

    def round_trip(self, samples: Samples) -> Samples:
        """Audio after autoencoder and decoder, with the same length."""
        return self.decode_mel(self.autoencoder.decode(self.autoencoder.encode(samples)))[:, : samples.shape[1]]


def stem_name(piece: Piece, stem: str) -> str:
    """The words that ask for a stem: the instrument, "drums", or "male vocal"."""
    if stem == "drums":
        return "drums"
    name = piece.truth.parts[stem]
    return f"{name} vocal" if stem == "vocal" else name


def accompaniment_tags(piece: Piece) -> str:
    """Tags without tempo and key, as the model must take these from the vocal."""
    truth = piece.truth
    return ", ".join([truth.style, *reversed(truth.instruments), *(["drums"] if truth.drums else [])])


def stem_tags(piece: Piece, stem: str) -> str:
    """The tags for stemgen: instrument and style."""
    return f"{stem_name(piece, stem)}, {piece.truth.style}"


def options(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse KEY=VALUE pairs; values are YAML."""
    import yaml

    return {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs)}
