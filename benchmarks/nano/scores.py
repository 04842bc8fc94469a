"""The measurements. Each takes the material and returns rows of the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from acestep_flows.sampling.branches import song_branches
from acestep_flows.sampling.denoiser import DenoiserRow, encode_conditions, predict_velocities
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.trajectory import Query
from acestep_flows.stages.diffusion import shared_networks
from acestep_flows.stages.encode_lyrics import EncodeLyrics
from acestep_flows.stages.encode_prompt import EncodePrompt
from acestep_flows.training.data.contrasts import STYLES
from acestep_flows.training.synthesis import Truth
from acestep_flows.values import Latents, Span
from benchmarks.nano import listening
from benchmarks.nano.estimates import ClipEstimates, estimate_all, in_time, true_scale
from benchmarks.nano.material import Material
from benchmarks.nano.player import to_audio
from benchmarks.nano.playing_along import control
from benchmarks.nano.projections import projections
from benchmarks.nano.table import Score, right_and_shuffled
from benchmarks.nano.voice import voice

STEADY = STYLES
"""Styles with a steady beat."""


def codec(material: Material) -> list[Score]:
    """Errors of the decoder (mel to audio) and of the autoencoder (mel to latents)."""
    autoencoder_errors, decoder_errors = [], []
    for piece in material.pieces[: min(20, material.clips)]:
        mel = material.codec.mel(piece.mix)
        decoded_mel = material.codec.mel(material.codec.decode_mel(mel))
        frames = min(mel.shape[-1], decoded_mel.shape[-1])
        decoder_errors.append(float(np.abs(mel[..., :frames] - decoded_mel[..., :frames]).mean()))
        autoencoder = material.codec.autoencoder
        decoded = autoencoder.decode(autoencoder.encode(piece.mix))
        autoencoder_errors.append(float(np.abs(decoded - mel).mean()))
    return [
        Score(
            "decoder: log-mel L1 after mel -> wav -> mel",
            float(np.mean(decoder_errors)),
            aim=("<=", 0.25),
            clips=len(decoder_errors),
        ),
        Score(
            "autoencoder: log-mel L1",
            float(np.mean(autoencoder_errors)),
            aim=("<=", 0.25),
            clips=len(autoencoder_errors),
        ),
    ]


def text(material: Material) -> list[Score]:
    """Whether text2music follows its tags: style, key, tempo, drums."""
    truths = [piece.truth for piece in material.pieces]
    sounds = {
        "generated": estimate_all(material.generated),
        "real": estimate_all([piece.mix for piece in material.pieces]),
        "coded": estimate_all(material.coded),
    }

    def score(metric: str, agree: Callable[[ClipEstimates, Truth], float], aim: tuple[str, float] | None) -> Score:
        agreements = {name: right_and_shuffled(clips, truths, agree) for name, clips in sounds.items()}
        (generated, shuffled), (real, real_shuffled), (coded, _) = (agreements[name] for name in sounds)
        return Score(metric, generated, shuffled, real, real_shuffled, coded, aim, len(truths))

    styles = {id(clip): material.styles.nearest(clip.samples) for clips in sounds.values() for clip in clips}
    return [
        score("style: nearest centroid", lambda clip, truth: styles[id(clip)] == truth.style, (">=", 0.85)),
        score("key: scale is chroma top 1", lambda clip, truth: true_scale(truth) in clip.scales[:1], None),
        score("key: scale among top 2", lambda clip, truth: true_scale(truth) in clip.scales[:2], (">=", 0.65)),
        score(
            "tempo within 4 %, octaves folded", lambda clip, t: listening.same_tempo(clip.tempo, t.tempo), (">=", 0.9)
        ),
        score("tempo within 3 %, searched near", in_time, None),
        score("beat strength", lambda clip, t: listening.beat_strength(clip.onsets, t.tempo), (">=", 0.45)),
        _attacks(truths, *sounds.values()),
        _drums(truths, *sounds.values()),
    ]


def _attacks(truths: Sequence[Truth], *sounds: Sequence[ClipEstimates]) -> Score:
    """Rises of the level in clips of the styles with a steady beat, where drums are asked for."""
    chosen = [number for number, truth in enumerate(truths) if truth.drums and truth.style in STEADY]
    generated, real, coded = (
        float(np.mean([listening.attack(clips[number].samples) for number in chosen])) if chosen else None
        for clips in sounds
    )
    return Score("attack of drum styles, dB", generated, real=real, coded=coded, aim=(">=", 7.0), clips=len(chosen))


def _drums(truths: Sequence[Truth], *sounds: Sequence[ClipEstimates]) -> Score:
    ratios: list[float | None] = []
    for clips in sounds:
        bright = [
            (truth.drums, listening.bright_onsets(clip.samples)) for truth, clip in zip(truths, clips, strict=True)
        ]
        with_drums, without_drums = (
            [value for drums, value in bright if drums is value_wanted] for value_wanted in (True, False)
        )
        ratios.append(
            float(np.mean(with_drums) / (np.mean(without_drums) + 1e-9)) if with_drums and without_drums else None
        )
    generated, real, coded = ratios
    name = "drums asked / not asked: bright onsets, ratio"
    return Score(name, generated, real=real, coded=coded, aim=(">=", 4.0), clips=len(truths))


def faults(material: Material) -> list[Score]:
    """Shares of faults in generated and real clips."""
    generated = [listening.faults(clip) for clip in material.generated]
    real = [listening.faults(piece.mix) for piece in material.pieces]
    names = {"clipped": 0.001, "silent": 0.1, "dc": 0.01}
    scores = [
        Score(
            f"faults: {name}", _mean(generated, name), real=_mean(real, name), aim=("<=", bound), clips=len(generated)
        )
        for name, bound in names.items()
    ]
    return [*scores, Score("stereo width", _mean(generated, "width"), real=_mean(real, "width"), clips=len(generated))]


def _mean(measured: Sequence[object], name: str) -> float:
    return float(np.mean([values[name] for values in measured]))  # type: ignore[index]


def changes(material: Material) -> list[Score]:
    """Whether repaint changes its span only, and whether an edit of the lyrics keeps the melody."""
    pieces = material.pieces[: max(4, material.pairs // 3)]
    span = Span(2.0, 4.0)
    outside, inside = [], []
    for index, piece in enumerate(pieces):
        material.say(f"repaint {index + 1}/{len(pieces)}")
        played = material.player.play(
            "repaint",
            source=to_audio(piece.mix),
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
    edited_correlations, retake_correlations = [], []
    for index, piece in enumerate(pieces):
        material.say(f"edit {index + 1}/{len(pieces)}")
        before = material.codec.round_trip(piece.mix)
        new_lyrics = pieces[index - 1].lyrics
        edited = material.player.audio(
            "edit-lyrics",
            source=to_audio(piece.mix),
            tags=piece.tags,
            lyrics=piece.lyrics,
            new_lyrics=new_lyrics,
            seed=index,
        )
        edited_correlations.append(listening.chroma_correlation(before, edited))
        retake = material.sample(piece, index + 500)
        retake_correlations.append(listening.chroma_correlation(before, retake))
    note = "shuffled: a new take of the same tags; the edit should keep more"
    line = Score(
        "edit: chroma correlation",
        float(np.mean(edited_correlations)),
        float(np.mean(retake_correlations)),
        clips=len(edited_correlations),
        note=note,
    )
    return [line]


@torch.inference_mode()
def lyrics(material: Material) -> list[Score]:
    """Loss with a clip's own words against other words. A model that follows words has a lower loss with its own."""
    pieces = material.sung
    player = material.player
    networks = shared_networks(player.checkpoint, player.runner.placement)
    prompts, words = EncodePrompt(), EncodeLyrics()
    for stage in (prompts, words):
        stage.load(player.checkpoint, player.runner.placement)
    all_tags = [piece.tags for piece in pieces]
    states = [prompts.run([prompts.In()], [prompts.Params(tags=tags)])[0].prompt for tags in all_tags]
    sung = [words.run([words.In()], [words.Params(lyrics=piece.lyrics)])[0].lyrics for piece in pieces]
    shift = max(1, len(pieces) // 2)
    losses: dict[str, list[float]] = {"own": [], "other text": [], "other lyrics": []}
    for index, piece in enumerate(pieces):
        other = (index + shift) % len(pieces)
        data = torch.from_numpy(Latents(material.codec.autoencoder.encode(piece.mix)).array)
        noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(index))
        pairs = ((index, index), (other, index), (index, other))
        conditions = dict(zip(losses, pairs, strict=True))
        for name, (prompt, lyric) in conditions.items():
            branches = song_branches(states[prompt], sung[lyric], SamplerOptions())
            memory = encode_conditions(
                networks.transformer, networks.projector, {"conditional": branches["conditional"]}
            )
            for sigma in (0.3, 0.6, 0.9):
                call = Query(sigma * noise + (1 - sigma) * data, 1000.0 * sigma, "conditional")
                (velocity,) = predict_velocities(networks.transformer, [DenoiserRow(call, memory["conditional"])])
                losses[name].append(float(((velocity - (noise - data)) ** 2).mean()))
    own, text_loss, lyric_loss = (float(np.mean(losses[name])) for name in losses)
    return [
        Score("velocity error: own text / another's", own, text_loss, clips=len(pieces)),
        Score("velocity error: own lyrics / another's", own, lyric_loss, clips=len(pieces)),
    ]


def speed(material: Material) -> list[Score]:
    """Seconds to make a 20 second song after warm-up, relative to its length."""
    piece = material.pieces[0]

    def song(seed: int) -> float:
        started = time.perf_counter()
        material.player.play("text2music", tags=piece.tags, lyrics=piece.lyrics, duration=20.0, seed=seed)
        return time.perf_counter() - started

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
    "projections": projections,
    "voice": voice,
    "speed": speed,
}
