"""The measurements. Each takes the material and gives lines of the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch

from acestep_flows.sampling.branches import song_branches
from acestep_flows.sampling.denoiser import DenoiserRow, encode_conditions, predict_velocities
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.trajectory import Query
from acestep_flows.stages.diffusion import shared_networks
from acestep_flows.stages.encode_lyrics import EncodeLyrics
from acestep_flows.stages.encode_prompt import EncodePrompt
from acestep_flows.training.synthesis import Piece, Truth
from acestep_flows.values import Latents, Span
from benchmarks.nano import listening as ears
from benchmarks.nano.listening import Samples
from benchmarks.nano.material import Material, accompaniment_tags, asked_name, at_another_tempo, stem_tags
from benchmarks.nano.player import spoken
from benchmarks.nano.table import Score, right_and_shuffled


def codec(material: Material) -> list[Score]:
    """What is lost between mel and audio, and between mel and latents."""
    whole, parts = [], []
    for piece in material.pieces[: min(20, material.clips)]:
        mel = material.codec.mel(piece.mix)
        again = material.codec.mel(material.codec.voiced(mel))
        frames = min(mel.shape[-1], again.shape[-1])
        parts.append(float(np.abs(mel[..., :frames] - again[..., :frames]).mean()))
        autoencoder = material.codec.autoencoder
        decoded = autoencoder.decode(autoencoder.encode(piece.mix))
        whole.append(float(np.abs(decoded - mel).mean()))
    return [
        Score("decoder: log-mel L1 after mel -> wav -> mel", float(np.mean(parts)), aim=("<=", 0.25), clips=len(parts)),
        Score("autoencoder: log-mel L1", float(np.mean(whole)), aim=("<=", 0.25), clips=len(whole)),
    ]


def text(material: Material) -> list[Score]:
    """Whether text2music follows its tags: style, key, tempo, drums."""
    truths = [piece.truth for piece in material.pieces]
    sounds = {
        "generated": _ears(material.generated),
        "real": _ears([piece.mix for piece in material.pieces]),
        "coded": _ears(material.coded),
    }

    def score(metric: str, agree: Callable[[Ear, Truth], float], aim: tuple[str, float] | None) -> Score:
        found = {name: right_and_shuffled(clips, truths, agree) for name, clips in sounds.items()}
        (generated, shuffled), (real, real_shuffled), (coded, _) = (found[name] for name in sounds)
        return Score(metric, generated, shuffled, real, real_shuffled, coded, aim, len(truths))

    styles = {id(ear): material.styles.nearest(ear.samples) for clips in sounds.values() for ear in clips}
    return [
        score("style: nearest centroid", lambda ear, truth: styles[id(ear)] == truth.style, (">=", 0.85)),
        score("key: scale is chroma top 1", lambda ear, truth: _scale(truth) in ear.scales[:1], None),
        score("key: scale among top 2", lambda ear, truth: _scale(truth) in ear.scales[:2], (">=", 0.65)),
        score("tempo within 4 %, octaves folded", lambda ear, t: ears.same_tempo(ear.tempo, t.tempo), (">=", 0.5)),
        score("tempo within 3 %, searched near", _in_time, None),
        _drums(truths, *sounds.values()),
    ]


class Ear:
    """A clip, and what is heard in it, each thing once."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    @cached_property
    def scales(self) -> list[int]:
        return ears.scale_ranking(self.samples)

    @cached_property
    def onsets(self) -> ears.Array:
        return ears.onsets(self.samples)

    @cached_property
    def tempo(self) -> float:
        return ears.tempo(self.samples)


def _ears(clips: Sequence[Samples]) -> list[Ear]:
    return [Ear(clip) for clip in clips]


def _scale(truth: Truth) -> int:
    return ears.scale_of(truth.key, truth.mode)


def _in_time(ear: Ear, truth: Truth) -> bool:
    return abs(ears.tempo_of_onsets(ear.onsets, truth.tempo) / truth.tempo - 1) < 0.03


def _beside(ear: Ear, other: Ear) -> float:
    return ears.correlation_of_onsets(ear.onsets, other.onsets)


def _drums(truths: Sequence[Truth], *sounds: Sequence[Ear]) -> Score:
    ratios: list[float | None] = []
    for clips in sounds:
        bright = [(truth.drums, ears.bright_onsets(ear.samples)) for truth, ear in zip(truths, clips, strict=True)]
        asked, not_asked = ([value for drums, value in bright if drums is wanted] for wanted in (True, False))
        ratios.append(float(np.mean(asked) / (np.mean(not_asked) + 1e-9)) if asked and not_asked else None)
    generated, real, coded = ratios
    name = "drums asked / not asked: bright onsets, ratio"
    return Score(name, generated, real=real, coded=coded, aim=(">=", 4.0), clips=len(truths))


def faults(material: Material) -> list[Score]:
    """What no song should have."""
    found = [ears.faults(clip) for clip in material.generated]
    real = [ears.faults(piece.mix) for piece in material.pieces]
    names = {"clipped": 0.001, "silent": 0.1, "dc": 0.01}
    lines = [
        Score(f"faults: {name}", _mean(found, name), real=_mean(real, name), aim=("<=", bound), clips=len(found))
        for name, bound in names.items()
    ]
    return [*lines, Score("stereo width", _mean(found, "width"), real=_mean(real, "width"), clips=len(found))]


def _mean(found: Sequence[object], name: str) -> float:
    return float(np.mean([one[name] for one in found]))  # type: ignore[index]


def control(material: Material) -> list[Score]:
    """Whether an accompaniment keeps time with its vocal, and a stem with its track."""
    scores = []
    if material.player.has_control("singing2accompaniment"):
        scores += _singing(material)
    if material.player.has_control("stemgen"):
        scores += _stems(material)
    return scores


def _singing(material: Material) -> list[Score]:
    pieces = material.sung
    vocals = [piece.stems["vocal"] for piece in pieces]
    made = material.each(
        "singing2accompaniment",
        pieces,
        lambda index, piece: material.player.audio(
            "singing2accompaniment",
            "accompaniment",
            vocal=spoken(piece.stems["vocal"]),
            tags=accompaniment_tags(piece),
            lyrics=piece.lyrics,
            seed=index + 1,
        ),
    )
    rests = [piece.sum(*(stem for stem in piece.stems if stem != "vocal")) for piece in pieces]
    return _together("singing2accompaniment", made, rests, vocals, [piece.truth for piece in pieces], 0.45)


def _stems(material: Material) -> list[Score]:
    asked: list[tuple[Piece, str]] = []
    for index, piece in enumerate(material.pieces[: material.pairs]):
        stems = [stem for stem in piece.stems if stem != "vocal"]
        if len(piece.stems) > 1:
            asked.append((piece, stems[index % len(stems)]))
    tracks = [piece.sum(*(name for name in piece.stems if name != stem)) for piece, stem in asked]
    made = material.each(
        "stemgen",
        asked,
        lambda index, pair: material.player.audio(
            "stemgen", track=spoken(tracks[index]), instrument=stem_tags(*pair), seed=index + 1
        ),
    )
    real = [piece.stems[stem] for piece, stem in asked]
    names = [asked_name(piece, stem) for piece, stem in asked]
    own, shuffled = right_and_shuffled([material.instruments.nearest(clip) for clip in made], names, str.__eq__)
    real_own, real_shuffled = right_and_shuffled(
        [material.instruments.nearest(clip) for clip in real], names, str.__eq__
    )
    recognised = Score("stemgen: asked instrument", own, shuffled, real_own, real_shuffled, clips=len(names))
    lines = _together("stemgen", made, real, tracks, [piece.truth for piece, _ in asked], None)
    return [*lines, recognised]


def _together(
    name: str,
    made: Sequence[Samples],
    real: Sequence[Samples],
    guides: Sequence[Samples],
    truths: Sequence[Truth],
    correlation: float | None,
) -> list[Score]:
    """Tempo and onsets of what was made, against what it was made for."""
    found, wanted, leaders = _ears(made), _ears(real), _ears(guides)
    tempo, shuffled_tempo = right_and_shuffled(found, truths, _in_time)
    real_tempo, real_shuffled_tempo = right_and_shuffled(wanted, truths, _in_time)
    onsets, shuffled_onsets = right_and_shuffled(found, leaders, _beside)
    real_onsets, real_shuffled_onsets = right_and_shuffled(wanted, leaders, _beside)
    return [
        Score(
            f"{name}: tempo within 3 %", tempo, shuffled_tempo, real_tempo, real_shuffled_tempo,
            aim=(">=", 0.6), clips=len(made),
        ),
        Score(
            f"{name}: onset correlation", onsets, shuffled_onsets, real_onsets, real_shuffled_onsets,
            aim=(">=", correlation) if correlation is not None else None, clips=len(made),
        ),
    ]  # fmt: skip


def changes(material: Material) -> list[Score]:
    """Repaint changes its span alone; an edit of the words keeps the tune better than a new take does."""
    pieces = material.pieces[: max(4, material.pairs // 3)]
    span = Span(2.0, 4.0)
    outside, inside = [], []
    for index, piece in enumerate(pieces):
        material.say(f"repaint {index + 1}/{len(pieces)}")
        played = material.player.play(
            "repaint",
            source=spoken(piece.mix),
            tags=piece.tags,
            lyrics=piece.lyrics,
            span={"start": span.start, "end": span.end},
            variance=1.0,
            seed=index,
            retake_seed=index + 1000,
        )
        entries = played["heard"].entries
        outside.append(_relative(entries["outside"]))
        inside.append(_relative(entries["inside"]))
    scores = [
        Score("repaint: change outside (relative rms)", float(np.mean(outside)), aim=("<=", 0.05), clips=len(pieces)),
        Score("repaint: change inside (relative rms)", float(np.mean(inside)), aim=(">=", 0.3), clips=len(pieces)),
    ]
    return [*scores, *_edits(material)]


def _relative(change: dict[str, float]) -> float:
    return float(change["relative"])


def _edits(material: Material) -> list[Score]:
    pieces = material.sung[: max(4, material.pairs // 3)]
    kept, retaken = [], []
    for index, piece in enumerate(pieces):
        material.say(f"edit {index + 1}/{len(pieces)}")
        before = material.codec.through(piece.mix)
        words = pieces[index - 1].lyrics
        edited = material.player.audio(
            "edit-lyrics",
            source=spoken(piece.mix),
            tags=piece.tags,
            lyrics=piece.lyrics,
            new_lyrics=words,
            seed=index,
        )
        kept.append(ears.chroma_correlation(before, edited))
        retake = material.sample(piece, index + 500)
        retaken.append(ears.chroma_correlation(before, retake))
    note = "shuffled: a new take of the same tags; the edit should keep more"
    line = Score("edit: chroma correlation", float(np.mean(kept)), float(np.mean(retaken)), clips=len(kept), note=note)
    return [line]


@torch.inference_mode()
def lyrics(material: Material) -> list[Score]:
    """Loss with a clip's own words against others: a model that heeds them shows a gap."""
    pieces = material.sung
    player = material.player
    networks = shared_networks(player.checkpoint, player.runner.placement)
    prompts, words = EncodePrompt(), EncodeLyrics()
    for stage in (prompts, words):
        stage.load(player.checkpoint, player.runner.placement)
    told = [piece.tags for piece in pieces] + [at_another_tempo(piece) for piece in pieces]
    states = [prompts.run([prompts.In()], [prompts.Params(tags=tags)])[0].prompt for tags in told]
    sung = [words.run([words.In()], [words.Params(lyrics=piece.lyrics)])[0].lyrics for piece in pieces]
    shift = max(1, len(pieces) // 2)
    losses: dict[str, list[float]] = {"own": [], "other text": [], "other lyrics": [], "other tempo": []}
    for index, piece in enumerate(pieces):
        other = (index + shift) % len(pieces)
        data = torch.from_numpy(Latents(material.codec.autoencoder.encode(piece.mix)).array)
        noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(index))
        slower = len(pieces) + index
        places = ((index, index), (other, index), (index, other), (slower, index))
        chosen = dict(zip(losses, places, strict=True))
        for name, (prompt, lyric) in chosen.items():
            branches = song_branches(states[prompt], sung[lyric], SamplerOptions())
            memory = encode_conditions(
                networks.transformer, networks.projector, {"conditional": branches["conditional"]}
            )
            for sigma in (0.3, 0.6, 0.9):
                call = Query(sigma * noise + (1 - sigma) * data, 1000.0 * sigma, "conditional")
                (velocity,) = predict_velocities(networks.transformer, [DenoiserRow(call, memory["conditional"])])
                losses[name].append(float(((velocity - (noise - data)) ** 2).mean()))
    own, text_loss, lyric_loss, tempo_loss = (float(np.mean(losses[name])) for name in losses)
    return [
        Score("velocity error: own text / another's", own, text_loss, clips=len(pieces)),
        Score("velocity error: own lyrics / another's", own, lyric_loss, clips=len(pieces)),
        Score("velocity error: own tempo / another", own, tempo_loss, clips=len(pieces)),
    ]


def speed(material: Material) -> list[Score]:
    """A 20 second song, warm, against its length."""
    piece = material.pieces[0]

    def song(seed: int) -> float:
        begun = time.perf_counter()
        material.player.play("text2music", tags=piece.tags, lyrics=piece.lyrics, duration=20.0, seed=seed)
        return time.perf_counter() - begun

    song(1)
    seconds = min(song(2), song(3))
    steps = material.player.settings.get("steps", "the graph's")
    note = f"{seconds:.1f} s with {steps} steps and {torch.get_num_threads()} threads, on the machine as it was"
    return [Score("seconds of work for a second of a 20 s song", seconds / 20.0, aim=("<=", 1.0), clips=2, note=note)]


MEASUREMENTS = {
    "codec": codec,
    "text": text,
    "faults": faults,
    "lyrics": lyrics,
    "control": control,
    "changes": changes,
    "speed": speed,
}
