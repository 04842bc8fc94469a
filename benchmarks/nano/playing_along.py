"""Whether accompaniments follow their vocals, and stems their tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acestep_flows.training.synthesis import Piece, Truth
from benchmarks.nano.estimates import estimate_all, in_time, onset_agreement
from benchmarks.nano.listening import Samples
from benchmarks.nano.material import Material, accompaniment_tags, stem_name, stem_tags
from benchmarks.nano.player import to_audio
from benchmarks.nano.table import Score, right_and_shuffled

AUDIBLE = -45.0
"""dBFS."""


def control(material: Material) -> list[Score]:
    """Whether accompaniments follow their vocals, and stems their tracks."""
    scores = []
    if material.player.has_control("singing2accompaniment"):
        scores += _singing(material)
    if material.player.has_control("stemgen"):
        scores += _stems(material)
    return scores


def _singing(material: Material) -> list[Score]:
    pieces = material.sung
    vocals = [piece.stems["vocal"] for piece in pieces]
    generated = material.each(
        "singing2accompaniment",
        pieces,
        lambda index, piece: material.player.audio(
            "singing2accompaniment",
            "accompaniment",
            vocal=to_audio(piece.stems["vocal"]),
            tags=accompaniment_tags(piece),
            lyrics=piece.lyrics,
            seed=index + 1,
        ),
    )
    rests = [piece.sum(*(stem for stem in piece.stems if stem != "vocal")) for piece in pieces]
    return _timing_scores("singing2accompaniment", generated, rests, vocals, [piece.truth for piece in pieces], 0.45)


def _stems(material: Material) -> list[Score]:
    targets: list[tuple[Piece, str]] = []
    for index, piece in enumerate(material.pieces[: material.pairs]):
        stems = [stem for stem in piece.stems if stem != "vocal"]
        if len(piece.stems) > 1:
            targets.append((piece, stems[index % len(stems)]))
    tracks = [piece.sum(*(name for name in piece.stems if name != stem)) for piece, stem in targets]
    generated = material.each(
        "stemgen",
        targets,
        lambda index, pair: material.player.audio(
            "stemgen", track=to_audio(tracks[index]), instrument=stem_tags(*pair), seed=index + 1
        ),
    )
    real = [piece.stems[stem] for piece, stem in targets]
    names = [stem_name(piece, stem) for piece, stem in targets]
    own, shuffled = right_and_shuffled([material.instruments.nearest(clip) for clip in generated], names, str.__eq__)
    real_own, real_shuffled = right_and_shuffled(
        [material.instruments.nearest(clip) for clip in real], names, str.__eq__
    )
    recognised = Score("stemgen: asked instrument", own, shuffled, real_own, real_shuffled, clips=len(names))
    scores = _timing_scores("stemgen", generated, real, tracks, [piece.truth for piece, _ in targets], None)
    return [*scores, recognised, _audible(names, generated, real)]


def _audible(names: Sequence[str], generated: Sequence[Samples], real: Sequence[Samples]) -> Score:
    """Share of the instruments of which every clip is loud enough to be heard."""

    def share(clips: Sequence[Samples]) -> float:
        quietest: dict[str, float] = {}
        for name, clip in zip(names, clips, strict=True):
            quietest[name] = min(quietest.get(name, np.inf), 10 * np.log10(float((clip**2).mean()) + 1e-12))
        return float(np.mean([level > AUDIBLE for level in quietest.values()]))

    name = f"stemgen: instruments that are always above {AUDIBLE:.0f} dBFS, share"
    return Score(name, share(generated), real=share(real), aim=(">=", 1.0), clips=len(names))


def _timing_scores(
    name: str,
    generated: Sequence[Samples],
    real: Sequence[Samples],
    guides: Sequence[Samples],
    truths: Sequence[Truth],
    correlation: float | None,
) -> list[Score]:
    """Agreement of generated audio with its guide in tempo and onsets."""
    estimates, references, leaders = estimate_all(generated), estimate_all(real), estimate_all(guides)
    tempo, shuffled_tempo = right_and_shuffled(estimates, truths, in_time)
    real_tempo, real_shuffled_tempo = right_and_shuffled(references, truths, in_time)
    onsets, shuffled_onsets = right_and_shuffled(estimates, leaders, onset_agreement)
    real_onsets, real_shuffled_onsets = right_and_shuffled(references, leaders, onset_agreement)
    return [
        Score(
            f"{name}: tempo within 3 %", tempo, shuffled_tempo, real_tempo, real_shuffled_tempo,
            aim=(">=", 0.6), clips=len(generated),
        ),
        Score(
            f"{name}: onset correlation", onsets, shuffled_onsets, real_onsets, real_shuffled_onsets,
            aim=(">=", correlation) if correlation is not None else None, clips=len(generated),
        ),
    ]  # fmt: skip
