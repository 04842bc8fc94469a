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
from acestep_flows.training.synthesis import Piece, Truth
from acestep_flows.values import Latents, Span
from benchmarks.nano import listening
from benchmarks.nano.estimates import ClipEstimates, estimate_all, in_time, onset_agreement, true_scale
from benchmarks.nano.listening import Samples
from benchmarks.nano.material import Material, accompaniment_tags, at_another_tempo, stem_name, stem_tags
from benchmarks.nano.player import to_audio
from benchmarks.nano.table import Score, right_and_shuffled


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
            "tempo within 4 %, octaves folded", lambda clip, t: listening.same_tempo(clip.tempo, t.tempo), (">=", 0.5)
        ),
        score("tempo within 3 %, searched near", in_time, None),
        _drums(truths, *sounds.values()),
    ]


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
    return [*scores, recognised]


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
    all_tags = [piece.tags for piece in pieces] + [at_another_tempo(piece) for piece in pieces]
    states = [prompts.run([prompts.In()], [prompts.Params(tags=tags)])[0].prompt for tags in all_tags]
    sung = [words.run([words.In()], [words.Params(lyrics=piece.lyrics)])[0].lyrics for piece in pieces]
    shift = max(1, len(pieces) // 2)
    losses: dict[str, list[float]] = {"own": [], "other text": [], "other lyrics": [], "other tempo": []}
    for index, piece in enumerate(pieces):
        other = (index + shift) % len(pieces)
        data = torch.from_numpy(Latents(material.codec.autoencoder.encode(piece.mix)).array)
        noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(index))
        other_tempo = len(pieces) + index
        pairs = ((index, index), (other, index), (index, other), (other_tempo, index))
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
    own, text_loss, lyric_loss, tempo_loss = (float(np.mean(losses[name])) for name in losses)
    return [
        Score("velocity error: own text / another's", own, text_loss, clips=len(pieces)),
        Score("velocity error: own lyrics / another's", own, lyric_loss, clips=len(pieces)),
        Score("velocity error: own tempo / another", own, tempo_loss, clips=len(pieces)),
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
    "speed": speed,
}
