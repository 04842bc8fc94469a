"""What a diffusion training shows on the way: losses on songs it does not learn from, and songs to look at and hear.

Songs are made by the loop that serves them (`sampling.loop`).

A loss falls whether or not the words are heeded. So it is measured three times: with each song's own words, with the
prompt of another song, and with another's lyrics. Words that matter leave a gap.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from acestep_flows.errors import FlowsError, StorageError
from acestep_flows.sampling.denoiser import Denoiser, QueryRow
from acestep_flows.sampling.loop import denoise
from acestep_flows.sampling.noise import SeededDraws, draw
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.schedule import TRAINING_STEPS
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import BranchName
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.kinds.conditions import Blanks
from acestep_flows.training.kinds.objective import add_noise
from acestep_flows.training.loop.recipe import RecipeSection

if TYPE_CHECKING:
    from acestep_flows.training.kinds.networks import WordTokens
    from acestep_flows.training.kinds.song_task import SongBatch, SongTarget, SongTask

log = logging.getLogger(__name__)

LEVELS = (0.25, 0.5, 0.75, 0.95)
"""Noise levels at which held-out songs are measured."""
ROWS = 16


class PreviewSettings(RecipeSection):
    """What previews make."""

    songs: int = Field(2, ge=0, description="Songs that are sampled, from held-out captions.")
    frames: int = Field(64, gt=0, description="Their length at most, in latent frames.")
    steps: int = Field(30, ge=1, le=200, description="Sampling steps.")
    guidance_scale: float = Field(3.0, ge=0, le=30, description="Plain classifier-free guidance.")
    measured: int = Field(64, ge=0, description="Held-out songs whose losses are measured.")


@torch.no_grad()
def measure(task: SongTask, settings: PreviewSettings, seed: int) -> dict[str, float]:
    """Mean squared error of the velocity on held-out songs: own words, another's text, another's lyrics."""
    batches = _held_out(task, settings.measured, seed)
    if not batches:
        return {}
    sums: dict[str, list[float]] = {"velocity": [], "velocity_other_text": [], "sung": [], "sung_other_lyrics": []}
    for batch in batches:
        words = batch.words
        sung = (words.lyric_mask.sum(dim=1) > 1).nonzero().flatten()
        text = dataclasses.replace(words, text_ids=words.text_ids.roll(1, 0), text_mask=words.text_mask.roll(1, 0))
        places = torch.arange(len(batch.data))
        places[sung] = sung.roll(1)
        lyrics = dataclasses.replace(words, lyric_ids=words.lyric_ids[places], lyric_mask=words.lyric_mask[places])
        noise = torch.randn_like(batch.data)
        right = _errors(task, batch, noise)
        sums["velocity"] += right.tolist()
        if len(places) > 1:
            sums["velocity_other_text"] += _errors(task, dataclasses.replace(batch, words=text), noise).tolist()
        if len(sung) > 1:
            other = _errors(task, dataclasses.replace(batch, words=lyrics), noise)
            sums["sung"] += right[sung].tolist()
            sums["sung_other_lyrics"] += other[sung].tolist()
    return {name: float(np.mean(errors)) for name, errors in sums.items() if errors}


def _held_out(task: SongTask, count: int, seed: int) -> list[SongBatch]:
    """Held-out songs in batches of like length, the same ones each time."""
    limit = task.crop
    lengths = {index: task.songs.songs[index].frames for index in task.held_out[:count]}
    crops = [Crop(index, 0, min(frames, limit or frames)) for index, frames in lengths.items()]
    crops.sort(key=lambda crop: crop.frames)
    random = np.random.default_rng([seed, 3])
    rows = max(1, min(ROWS, task.budget // max((crop.frames for crop in crops), default=1)))
    chunks = [crops[first : first + rows] for first in range(0, len(crops), rows)]
    return [task.assemble(chunk, random, Blanks.none(len(chunk))) for chunk in chunks]


def _errors(task: SongTask, batch: SongBatch, noise: Tensor) -> Tensor:
    """The mean over LEVELS of each row's squared error, (B,)."""
    data, noise, mask = batch.data.to(task.device), noise.to(task.device), batch.mask.to(task.device)
    total = torch.zeros(len(data), device=task.device)
    for level in LEVELS:
        levels = torch.full((len(data),), level, device=task.device)
        with task.computing():
            velocity = task.velocity(batch, add_noise(data, noise, levels), levels)
        squares = (velocity - (noise - data)).square().mean(dim=(1, 2)) * mask
        total += squares.sum(dim=1) / mask.sum(dim=1)
    return (total / len(LEVELS)).cpu()


@torch.no_grad()
def render_songs(task: SongTask, settings: PreviewSettings, folder: Path) -> None:
    """Sample songs from held-out captions: `song-N.png`, the mel beside the real one's, `song-N.flac`, `song-N.txt`.

    A song that cannot be decoded, as the decoder of the checkpoint may not be trained yet, is left out with a warning.

    Raises:
        StorageError: a file cannot be written.
    """
    if not settings.songs:
        return
    chosen = (task.held_out or list(range(len(task.songs))))[: settings.songs]
    try:
        for number, index in enumerate(chosen):
            _render(task, settings, folder / f"song-{number}", index)
    except StorageError:
        raise
    except FlowsError as error:
        log.warning("no preview songs: %s", error)


def _render(task: SongTask, settings: PreviewSettings, path: Path, index: int) -> None:
    from acestep_flows import storage
    from acestep_flows.audio import write
    from acestep_flows.model.autoencoder import Autoencoder
    from acestep_flows.model.placement import Placement
    from acestep_flows.model.vocoder import load_vocoder
    from acestep_flows.training.loop.picture import compare_mels
    from acestep_flows.values import MODEL_RATE, Audio

    song = task.songs.songs[index]
    crop = Crop(index, 0, min(settings.frames, song.frames))
    part = task.part(song, np.random.default_rng([index]))
    latents = sample(task, crop, part, settings)
    autoencoder = Autoencoder.load(task.checkpoint, Placement(), halves=["decoder"])
    mel = autoencoder.decode(latents.numpy())
    real = autoencoder.decode(task.songs.latents(index, part.target, 0, crop.frames))
    storage.write(path.with_suffix(".txt"), f"{song.key}: {part.target}\n{part.prompt}\n\n{part.lyrics}\n".encode())
    compare_mels(path.with_suffix(".png"), {f"sampled: {part.prompt}": mel[0], "real": real[0]})
    samples = load_vocoder(task.checkpoint, Placement()).decode(mel)
    write.audio(path.with_suffix(".flac"), Audio(samples, MODEL_RATE))


def sample(task: SongTask, crop: Crop, part: SongTarget, settings: PreviewSettings) -> Tensor:
    """Latents (8, 16, T) by plain Euler steps with guidance against blanked words; the seed is the song's number."""
    options = SamplerOptions(
        steps=settings.steps,
        omega=0.0,
        guidance="cfg",
        guidance_scale=settings.guidance_scale,
        guidance_interval=1.0,
        erg_diffusion=False,
    )
    words: dict[BranchName, WordTokens] = {
        "conditional": task.words([part], Blanks.none(1)),
        "null": task.words([part], Blanks.all(1)),
    }
    noise = torch.from_numpy(draw(crop.song, crop.frames))
    trajectory = text2music(noise, options, SeededDraws(crop.song, after=crop.frames))
    denoiser = PreviewDenoiser(task, words, task.control([crop], [part]))
    return denoise(trajectory, denoiser).latents.contiguous()


@dataclass(frozen=True, eq=False)
class PreviewDenoiser(Denoiser):
    """The network in training, under the words of one song.

    Attributes:
        words: of every guidance branch.
        control: (1, 8, 16, T) latents of the track to play along with.
    """

    task: SongTask
    words: Mapping[BranchName, WordTokens]
    control: Tensor | None

    @torch.no_grad()
    def predict(self, rows: Sequence[QueryRow]) -> list[Tensor]:
        velocities = []
        for row in rows:
            noisy = row.query.latents[None].to(self.task.device)
            levels = torch.full((1,), row.query.timestep / TRAINING_STEPS, device=self.task.device)
            batch = self.task.song_batch(noisy, self.words[row.query.branch], self.control)
            with self.task.computing():
                velocities.append(self.task.velocity(batch, noisy, levels)[0])
        return velocities
