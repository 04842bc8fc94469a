"""What the measurements share: held-out clips, what the model makes of them, and trained ears."""

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
from acestep_flows.training.synthesis.compose import TEMPOS
from acestep_flows.training.synthesis.styles import STYLES
from acestep_flows.training.synthesis.words import PACES
from acestep_flows.values import FloatArray, seconds_from_frames
from benchmarks.nano.listening import Centroids, Samples
from benchmarks.nano.player import Player

T = TypeVar("T")
R = TypeVar("R")

HELD_OUT = 9_000_000_000
"""Seeds from here on are measured; training draws its own far below, or at random below 2^62."""
TAUGHT = 9_500_000_000
"""Seeds of the clips that teach the ears."""
LENGTH = seconds_from_frames(64)


@dataclass
class Material:
    """A player and held-out clips. What is expensive is made when first asked for, and once.

    `first` says which clips: 0 are those of the model card, others are for choosing settings on.
    """

    player: Player
    clips: int
    pairs: int
    first: int
    say: Callable[[str], None]

    @cached_property
    def pieces(self) -> list[Piece]:
        """Clips whose captions the model is asked for."""
        return [render(compose(HELD_OUT + self.first + index, seconds=LENGTH)) for index in range(self.clips)]

    @cached_property
    def generated(self) -> list[Samples]:
        """A clip for the caption of each piece."""
        return self.each("text2music", self.pieces, lambda index, piece: self.sample(piece, index + 1))

    @cached_property
    def coded(self) -> list[Samples]:
        """The pieces after autoencoder and decoder."""
        return self.each("coding", self.pieces, lambda _, piece: self.codec.through(piece.mix))

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
        """What styles sound like."""
        taught = [(name, TAUGHT + 100 * number + i) for number, name in enumerate(STYLES) for i in range(40)]
        return Centroids.fit([(name, render(compose(seed, seconds=LENGTH, style=name)).mix) for name, seed in taught])

    @cached_property
    def instruments(self) -> Centroids:
        """What stems sound like, by the name one would ask for."""
        clips: dict[str, list[Samples]] = {}
        for index in range(200):
            piece = render(compose(TAUGHT + 50_000 + index, seconds=LENGTH, vocal="none"))
            for stem, samples in piece.stems.items():
                clips.setdefault(asked_name(piece, stem), []).append(samples)
        return Centroids.fit([(name, clip) for name, found in clips.items() if len(found) >= 4 for clip in found[:12]])

    def sample(self, piece: Piece, seed: int) -> Samples:
        """What the model makes of a piece's words."""
        return self.player.audio("text2music", tags=piece.tags, lyrics=piece.lyrics, duration=LENGTH, seed=seed)

    def each(self, what: str, items: Sequence[T], make: Callable[[int, T], R]) -> list[R]:
        """`make` for every item, telling how far it is."""
        made = []
        for index, item in enumerate(items):
            self.say(f"{what} {index + 1}/{len(items)}")
            made.append(make(index, item))
        return made


class Codec:
    """Audio to latents and back, at 44.1 kHz, without the graphs' way through 48 kHz."""

    def __init__(self, player: Player) -> None:
        placement = player.runner.placement
        self.autoencoder = Autoencoder.load(player.checkpoint, placement, halves=["encoder", "decoder"])
        self.vocoder = load_vocoder(player.checkpoint, placement)

    def mel(self, samples: Samples) -> FloatArray:
        """The model's own log-mel (2, 128, frames)."""
        mel: FloatArray = self.autoencoder.log_mel(samples).cpu().numpy()
        return mel

    def voiced(self, mel: FloatArray) -> Samples:
        """Decoder: log-mel to audio."""
        samples: Samples = np.asarray(self.vocoder.decode(mel, overlap=False), np.float32)
        return samples

    def through(self, samples: Samples) -> Samples:
        """Audio after autoencoder and decoder, as long as before."""
        return self.voiced(self.autoencoder.decode(self.autoencoder.encode(samples)))[:, : samples.shape[1]]


def asked_name(piece: Piece, stem: str) -> str:
    """What one would ask for to get a stem: the instrument, "drums", or "male vocal"."""
    if stem == "drums":
        return "drums"
    name = piece.truth.parts[stem]
    return f"{name} vocal" if stem == "vocal" else name


def accompaniment_tags(piece: Piece) -> str:
    """A style text without tempo and key: those have to come from the vocal."""
    truth = piece.truth
    return ", ".join([truth.style, *reversed(truth.instruments), *(["drums"] if truth.drums else [])])


def at_another_tempo(piece: Piece) -> str:
    """A piece's tags with a tempo that lies 15 % beside, and no word for the pace."""
    tempo = piece.truth.tempo
    other = round(tempo * 1.15) if tempo * 1.15 <= TEMPOS[1] else round(tempo / 1.15)
    tags = [tag for tag in piece.tags.split(", ") if tag not in (word for _, word in PACES)]
    return ", ".join(tags).replace(f"{tempo} bpm", f"{other} bpm")


def stem_tags(piece: Piece, stem: str) -> str:
    """What stemgen is asked for: the instrument and the style."""
    return f"{asked_name(piece, stem)}, {piece.truth.style}"


def options(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE as YAML reads it."""
    import yaml

    return {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs)}
