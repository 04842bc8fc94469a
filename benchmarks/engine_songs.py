"""Songs that are ready to be denoised, for benchmarks of the engine and of cores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.sampling.loop import denoise
from acestep_flows.stages.diffusion import DenoisingSong
from acestep_flows.stages.encode_lyrics import EncodeLyrics
from acestep_flows.stages.encode_prompt import EncodePrompt
from acestep_flows.stages.init_noise import InitNoise
from acestep_flows.stages.sample import Sample

LYRICS = "[verse]\nNeon lights they flicker bright\nCity hums in dead of night\n[chorus]\nTurn it up and let it flow\n"


class Songs:
    """Makes songs on one checkpoint. They have the same words and different seeds."""

    def __init__(self, folder: Path, device: str, dtype: Any) -> None:
        checkpoint, placement = Checkpoint.open(folder), Placement(device, dtype)
        prompts, lyrics, self.noise, self.sample = EncodePrompt(), EncodeLyrics(), InitNoise(), Sample()
        for stage in (prompts, lyrics, self.sample):
            stage.load(checkpoint, placement)
        self.prompt = prompts.run([prompts.In()], [prompts.Params(tags="funk, pop, energetic, 105 BPM")])[0].prompt
        self.lyrics = lyrics.run([lyrics.In()], [lyrics.Params(lyrics=LYRICS)])[0].lyrics

    def make(self, lengths: Sequence[float], steps: int) -> list[DenoisingSong]:
        return [self._song(seed, seconds, steps) for seed, seconds in enumerate(lengths)]

    def _song(self, seed: int, seconds: float, steps: int) -> DenoisingSong:
        (drawn,) = self.noise.run([self.noise.In()], [self.noise.Params(seed=seed, duration=seconds)])
        item = Sample.In(self.prompt, self.lyrics, drawn.noise)
        return self.sample.song(item, Sample.Params(steps=steps))


def one_by_one(songs: Sequence[DenoisingSong]) -> float:
    """Seconds to denoise the songs one at a time."""
    started = time.perf_counter()
    for song in songs:
        denoise(song.trajectory, song.denoise)
    return time.perf_counter() - started
