"""Make a beat: drum strokes at a tempo, or the user's own loop, as audio and as latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from acestep_flows.errors import InputError
from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import MAX_SECONDS, MODEL_RATE, SAMPLES_PER_FRAME, Audio, Latents, Noise, Report
from acestep_flows.wording.tempo import tempos

if TYPE_CHECKING:
    from acestep_flows.audio.beat import DrumBeat
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement
    from acestep_flows.values import FloatArray

STYLE = "style"


class Beat(ItemStage):
    """Make a beat: drum strokes at a tempo, or a loop, repeated. It can be heard, and a model can follow it.

    The tempo is `tempo`, else the one in `tags`; tags with two tempos are refused. The length is that of `over`,
    of `noise` or of `seconds`, in this order. A loop is repeated to the length, and cut there.
    """

    name, version = "beat", 1
    parts = ("music_dcae_f8c8", "music_vocoder")

    @dataclass(frozen=True)
    class In:
        loop: Audio | None = field(default=None, metadata={"description": "Clicks or drums of the user's own."})
        over: Audio | None = field(default=None, metadata={"description": "Music that the beat is laid over."})
        noise: Noise | None = field(default=None, metadata={"description": "Take the length from this noise."})

    class Params(StageParams):
        tempo: float | None = Field(None, ge=30, le=300, description="Beats per minute; absent: as in the tags.")
        tags: str = Field("", description="Tags with a tempo ('128 bpm') and a style.")
        pattern: str = Field(
            STYLE,
            description="'style': by the style in the tags; a name (pulse, click, house, rock, hip hop, jazz, folk, "
            "synthwave, orchestral, ambient); or rows of sixteenths, 'kick x...x... / hat ..x...x.', 20 for 5/4.",
        )
        swing: float = Field(0.0, ge=0, le=0.75, description="How late every second sixteenth is, in sixteenths.")
        bars: int | None = Field(None, ge=1, description="How many bars sound; absent: all.")
        start: float = Field(0.0, ge=-MAX_SECONDS, le=MAX_SECONDS, description="Seconds until the first bar begins.")
        seconds: float | None = Field(None, gt=0, le=MAX_SECONDS, description="Length.")

    @dataclass(frozen=True)
    class Out:
        audio: Audio
        latents: Latents
        report: Report

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        from acestep_flows.model.autoencoder import Autoencoder

        self.autoencoder = Autoencoder.load(checkpoint, placement, halves=["encoder"])

    def run_one(self, item: In, params: Params) -> Out:
        import numpy as np

        from acestep_flows.audio.resample import resample, stereo

        over = None if item.over is None else resample(stereo(item.over).samples, item.over.sample_rate, MODEL_RATE)
        samples = _samples(over, item.noise, params)
        track, entries = _loop(item.loop, samples) if item.loop is not None else _strokes(params, samples)
        if over is not None:
            track = track + over
        peak = float(np.abs(track).max())
        audio = Audio(track / peak if peak > 1 else track, MODEL_RATE)
        return self.Out(audio, Latents(self.autoencoder.encode(audio.samples)), Report(entries))


def _samples(over: FloatArray | None, noise: Noise | None, params: Beat.Params) -> int:
    if over is not None:
        return int(over.shape[1])
    if noise is not None:
        return int(noise.array.shape[-1]) * SAMPLES_PER_FRAME
    if params.seconds is None:
        raise InputError("no length", where="beat.seconds", allowed="seconds, or `over` or `noise` to be as long as")
    return max(1, round(params.seconds * MODEL_RATE))


def _strokes(params: Beat.Params, samples: int) -> tuple[FloatArray, dict[str, Any]]:
    from acestep_flows.audio.beat import beat_track

    name, strokes = strokes_of(params)
    track = beat_track(strokes, samples)
    return _both(track), {"tempo": strokes.tempo, "pattern": name, "warnings": []}


def strokes_of(params: Beat.Params) -> tuple[str, DrumBeat]:
    """The beat that parameters describe, and the name of its pattern.

    Raises:
        InputError: no tempo, or two; a pattern that is none.
    """
    from acestep_flows.audio.beat import DrumBeat, read_pattern, style_of

    tempo = params.tempo
    if tempo is None:
        found = tempos(params.tags)
        if len(found) != 1:
            what = f"{len(found)} tempos ({', '.join(f'{one:g}' for one in found)} bpm)" if found else "no tempo"
            raise InputError(f"{what} in the tags", where="beat.tempo", allowed="one, as in '128 bpm', or `tempo`")
        tempo = found[0]
    name = style_of(params.tags) if params.pattern == STYLE else params.pattern
    return name, DrumBeat(tempo, read_pattern(name), params.swing, params.bars, params.start)


SHORTEST_LOOP = 0.1
"""Seconds; what is shorter is a sound and no rhythm."""
QUIETEST_LOOP = 1e-3
"""Peak under which a loop counts as silence: -60 dBFS."""


def _loop(loop: Audio, samples: int) -> tuple[FloatArray, dict[str, Any]]:
    """The loop repeated to `samples`, (2, samples) at 44.1 kHz.

    Raises:
        InputError: it is silent or too short.
    """
    import numpy as np

    from acestep_flows.audio.resample import resample, stereo

    if loop.seconds < SHORTEST_LOOP:
        raise InputError(f"{loop.seconds:.2f} s", where="guide", allowed=f"at least {SHORTEST_LOOP:g} s of a beat")
    track = resample(stereo(loop).samples, loop.sample_rate, MODEL_RATE)
    if float(np.abs(track).max()) < QUIETEST_LOOP:
        raise InputError("silence", where="guide", allowed="clicks or drums that can be heard")
    times = -(-samples // track.shape[1])
    entries = {"loop_seconds": loop.seconds, "repeats": round(samples / track.shape[1], 3), "warnings": []}
    return np.tile(track, times)[:, :samples], entries


def _both(track: FloatArray) -> FloatArray:
    import numpy as np

    return np.stack([track, track])
