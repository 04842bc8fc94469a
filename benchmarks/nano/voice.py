"""Whether a voice is there where words are, and which vowels it sings: linear probes on latents.

The probes are fitted to frames of real clips, whose syllables are known. They are weak, so each number stands beside
the probe's own limit (real clips) and chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acestep_flows.training.synthesis import Piece, compose, render
from acestep_flows.training.synthesis.lexicon import parse
from acestep_flows.values import SAMPLES_PER_FRAME, FloatArray
from benchmarks.nano.listening import RATE, Array, Samples
from benchmarks.nano.material import FITTING, LENGTH, Material
from benchmarks.nano.table import Score, right_and_shuffled

FITTED = 160
"""Clips that the probes are fitted to."""
RIDGE = 30.0
FRAME_SECONDS = SAMPLES_PER_FRAME / RATE


@dataclass(frozen=True)
class Probe:
    """A linear classifier of frames, fitted by ridge regression on one column per label."""

    labels: tuple[str, ...]
    weights: Array  # (features + 1, labels)

    @classmethod
    def fit(cls, features: Array, names: Sequence[str]) -> Probe:
        """Fit to features (n, F) with one label each."""
        labels = tuple(sorted(set(names)))
        targets = np.array([[name == label for label in labels] for name in names], float)
        table = _with_one(features)
        gram = table.T @ table + RIDGE * np.eye(table.shape[1])
        return cls(labels, np.linalg.solve(gram, table.T @ (targets - targets.mean(axis=0))))

    def scores(self, features: Array) -> Array:
        """Scores (n, labels) of features (n, F)."""
        scores: Array = _with_one(features) @ self.weights
        return scores

    def names(self, features: Array) -> list[str]:
        """The most likely label of each row of features (n, F)."""
        return [self.labels[int(index)] for index in self.scores(features).argmax(axis=1)]


def _with_one(features: Array) -> Array:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def frame_features(latents: FloatArray) -> Array:
    """Each frame of latents (8, 16, T) with the frames beside it: (T, 384)."""
    frames = latents.reshape(-1, latents.shape[-1]).T.astype(float)
    padded = np.pad(frames, ((1, 1), (0, 0)), mode="edge")
    return np.concatenate([padded[:-2], frames, padded[2:]], axis=1)


def sung_frames(piece: Piece, frames: int) -> list[str]:
    """ "sung" or "not" for each frame of a piece."""
    middle = (np.arange(frames) + 0.5) * FRAME_SECONDS
    sung = np.zeros(frames, bool)
    for _, start, end in piece.truth.syllables:
        sung |= (middle >= start) & (middle < end)
    return ["sung" if one else "not" for one in sung]


def vowel_frames(piece: Piece, frames: int) -> list[tuple[int, str]]:
    """Frame and vowel of each syllable of a piece: the frame after its vowel begins."""
    places = ((int((start + 0.06) / FRAME_SECONDS), parse(sounds).vowel) for sounds, start, _ in piece.truth.syllables)
    return [(frame, vowel) for frame, vowel in places if 0 <= frame < frames]


def backing(piece: Piece) -> Samples:
    """A piece without its voice."""
    return piece.sum(*(stem for stem in piece.stems if stem != "vocal"))


def area_under_curve(scores: Array, positive: Array) -> float:
    """Probability that a positive score is above a negative one; 0.5 is chance."""
    ranks = scores.argsort().argsort() + 1.0
    count = positive.sum()
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def voice(material: Material) -> list[Score]:
    """A voice where there are words and none under [inst], and vowels, each by a probe on latents."""
    presence, vowels = _probes(material)
    pieces = [render(compose(HELD_SUNG + material.first + number, **_sung(number))) for number in range(material.pairs)]  # type: ignore[arg-type]
    encode = material.codec.autoencoder.encode

    def play(index: int, piece: Piece) -> tuple[FloatArray, FloatArray]:
        plain = ", ".join([*(tag for tag in piece.tags.split(", ") if "vocal" not in tag), "instrumental"])
        inputs = {"duration": LENGTH, "seed": index + 1}
        sung = material.player.play("text2music", tags=piece.tags, lyrics=piece.lyrics, **inputs)
        unsung = material.player.play("text2music", tags=plain, lyrics="[inst]", **inputs)
        return sung["latents"].array, unsung["latents"].array

    made = material.each("voice", pieces, play)
    real = [(encode(piece.mix), encode(backing(piece))) for piece in pieces]
    return [
        Score(
            "voice: where there are words, not under [inst] (AUC)",
            _presence(presence, made), 0.5, _presence(presence, real), 0.5, aim=(">=", 0.8), clips=len(pieces),
        ),
        _vowels(vowels, pieces, [sung for sung, _ in made], [sung for sung, _ in real]),
    ]  # fmt: skip


HELD_SUNG = 9_200_000_000
"""First seed of the measured sung clips."""


def _sung(number: int) -> dict[str, object]:
    return {"seconds": LENGTH, "vocal": ("male", "female")[number % 2], "steady_voice": True}


def _probes(material: Material) -> tuple[Probe, Probe]:
    """The probe for sung frames, and the one for vowels."""
    encode = material.codec.autoencoder.encode
    features, sung, vowel_features, vowels = [], list[str](), [], list[str]()
    for number in range(FITTED):
        piece = render(compose(FITTING + 80_000 + number, **_sung(number)))  # type: ignore[arg-type]
        rows = frame_features(encode(piece.mix))
        features.append(rows)
        sung += sung_frames(piece, len(rows))
        for frame, vowel in vowel_frames(piece, len(rows)):
            vowel_features.append(rows[frame])
            vowels.append(vowel)
        rows = frame_features(encode(backing(piece)))
        features.append(rows)
        sung += ["not"] * len(rows)
    return Probe.fit(np.concatenate(features), sung), Probe.fit(np.stack(vowel_features), vowels)


def _presence(probe: Probe, clips: Sequence[tuple[FloatArray, FloatArray]]) -> float:
    column = probe.labels.index("sung")
    scores = [probe.scores(frame_features(latents))[:, column].mean() for pair in clips for latents in pair]
    return area_under_curve(np.array(scores), np.array([True, False] * len(clips)))


def _vowels(probe: Probe, pieces: Sequence[Piece], made: Sequence[FloatArray], real: Sequence[FloatArray]) -> Score:
    """Share of syllables whose vowel the probe hears, over the share of the commonest vowel."""
    texts = [vowel_frames(piece, latents.shape[-1]) for piece, latents in zip(pieces, made, strict=True)]
    everywhere = [vowel for text in texts for _, vowel in text]
    commonest = max(everywhere.count(vowel) for vowel in set(everywhere)) / len(everywhere)

    def agree(latents: FloatArray, text: list[tuple[int, str]]) -> float:
        inside = [(frame, vowel) for frame, vowel in text if frame < latents.shape[-1]]
        if not inside:
            return 0.0
        heard = probe.names(frame_features(latents)[[frame for frame, _ in inside]])
        return float(np.mean([name == vowel for name, (_, vowel) in zip(heard, inside, strict=True)]))

    own, shuffled = right_and_shuffled(made, texts, agree)
    real_own, real_shuffled = right_and_shuffled(real, texts, agree)
    numbers = [None if share is None else share / commonest for share in (own, shuffled, real_own, real_shuffled)]
    name = "vowels heard by a probe, over the commonest"
    return Score(name, *numbers, aim=(">=", 2.0), clips=len(pieces), note=f"the commonest is {commonest:.2f} of all")
