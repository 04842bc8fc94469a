"""Mix stems into one stereo song."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from acestep_flows.errors import InputError
from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import Audio, Report

LOUDNESS_TOLERANCE = 0.2  # LU


class TrackSettings(StageParams):
    """How one stem sits in the mix."""

    gain: float = Field(0.0, ge=-120, le=24, description="dB.")
    pan: float = Field(0.0, ge=-1, le=1, description="-1 is left, 1 is right.")
    offset: float = Field(0.0, ge=0, le=3600, description="Seconds from the start of the mix.")
    fade_in: float = Field(0.0, ge=0, description="Seconds.")
    fade_out: float = Field(0.0, ge=0, description="Seconds.")


class Mix(ItemStage):
    """Mix stems: a gain, pan, offset and fades for each, then a loudness and a true-peak ceiling for the sum.

    The sum is driven into a limiter until it has the loudness. The ceiling always holds; the report warns of a loudness
    that is missed by more than 0.2 LU.

    Stems may differ in length and rate; the mix is as long as the last of them sounds, at 48 kHz.
    """

    name, version = "mix", 2

    @dataclass(frozen=True)
    class In:
        stems: list[Audio]

    class Params(StageParams):
        tracks: tuple[TrackSettings, ...] = Field((), description="One per stem, in order; none: all as they are.")
        loudness: float | None = Field(None, ge=-70, le=0, description="Integrated loudness of the mix in LUFS.")
        ceiling: float | None = Field(-1.0, ge=-60, le=0, description="Highest true peak in dBTP.")

    @dataclass(frozen=True)
    class Out:
        audio: Audio
        report: Report

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.audio.mix import Track, mix

        settings = params.tracks or (TrackSettings(),) * len(item.stems)
        if len(settings) != len(item.stems):
            raise InputError(f"{len(settings)} for {len(item.stems)} stems", where="mix.tracks", allowed="one per stem")
        tracks = [Track(stem, **setting.model_dump()) for stem, setting in zip(item.stems, settings, strict=True)]
        audio = mix(tracks, loudness_target=params.loudness, ceiling=params.ceiling)
        return self.Out(audio, self._report(audio, params))

    def _report(self, audio: Audio, params: Params) -> Report:
        from acestep_flows.audio.loudness import decibels, integrated, true_peak

        made, asked = integrated(audio), params.loudness
        warnings = []
        if asked is not None and made is None:
            warnings.append(f"the mix is silent or shorter than 0.4 s, so {asked:g} LUFS have no meaning")
        elif asked is not None and made is not None and abs(made - asked) > LOUDNESS_TOLERANCE:
            ceiling = "" if params.ceiling is None else f" under a ceiling of {params.ceiling:g} dBTP"
            warnings.append(f"the mix has {made:.1f} LUFS of the {asked:g} asked{ceiling}")
        entries = {"loudness_lufs": made, "loudness_asked": asked, "true_peak_dbtp": decibels(true_peak(audio))}
        return Report(entries | {"warnings": warnings})
