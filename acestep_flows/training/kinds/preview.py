"""Previews of training over encoded songs: losses on held-out songs, and sampled songs as pictures and audio.

Songs are sampled by the same loop that serves them (`sampling.loop`).

A loss can fall although the model ignores prompts and lyrics. So it is measured three times: with each song's own
words, with the prompt of another song, and with the lyrics of another song. A model that follows words has higher
losses in the second and third case.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from acestep_flows.errors import FlowsError, StorageError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.sampling.denoiser import Denoiser, QueryRow
from acestep_flows.sampling.loop import denoise
from acestep_flows.sampling.noise import SeededDraws, draw
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.queries import BranchName
from acestep_flows.sampling.schedule import TRAINING_STEPS
from acestep_flows.sampling.text2music import text2music
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.data.encoded import EncodedSet, EncodedSong
from acestep_flows.training.kinds.conditions import Blanks
from acestep_flows.training.kinds.networks import WordTokens
from acestep_flows.training.kinds.objective import add_noise
from acestep_flows.training.kinds.song_batch import SongBatch, SongTarget
from acestep_flows.training.loop.recipe import RecipeSection

log = logging.getLogger(__name__)

LEVELS = (0.25, 0.5, 0.75, 0.95)
"""Noise levels at which held-out songs are measured."""
ROWS = 16
"""Most songs in a measured batch."""


class PreviewTask(Protocol):
    """What previews need of a task; see `song_task.SongTask`."""

    device: str
    songs: EncodedSet
    held_out: list[int]
    checkpoint: Checkpoint

    @property
    def crop(self) -> int | None: ...

    @property
    def budget(self) -> int: ...

    def autocast(self) -> Any: ...

    def assemble(self, crops: Sequence[Crop], random: np.random.Generator, blanks: Blanks) -> SongBatch: ...

    def song_batch(self, noisy: Tensor, words: WordTokens, control: Tensor | None) -> SongBatch: ...

    def choose_target(self, song: EncodedSong, random: np.random.Generator) -> SongTarget: ...

    def control(self, crops: Sequence[Crop], targets: Sequence[SongTarget]) -> Tensor | None: ...

    def tokenize(self, targets: Sequence[SongTarget], blanks: Blanks) -> WordTokens: ...

    def velocity(self, batch: SongBatch, noisy: Tensor, levels: Tensor) -> Tensor: ...


class PreviewSettings(RecipeSection):
    """The `preview` section: what previews measure and sample."""

    songs: int = Field(2, ge=0, description="Number of sampled songs, with prompts of held-out songs.")
    frames: int = Field(64, gt=0, description="Most latent frames of a sampled song.")
    steps: int = Field(30, ge=1, le=200, description="Sampling steps.")
    guidance_scale: float = Field(3.0, ge=0, le=30, description="Scale of classifier-free guidance.")
    measured: int = Field(64, ge=0, description="Most held-out songs that are measured.")
    pairs: int = Field(
        0, ge=0, description="Synthetic pairs per style by which changes of tempo and style are measured; 0: none."
    )


@torch.no_grad()
def measure(task: PreviewTask, settings: PreviewSettings, seed: int) -> dict[str, float]:
    """Mean squared error of the velocity on held-out songs.

    Returns "velocity" with the songs' own words, "velocity_other_text" with another song's prompt, and for sung songs
    "sung" with their own lyrics and "sung_other_lyrics" with another song's. Empty without held-out songs.
    """
    batches = _held_out_batches(task, settings.measured, seed)
    if not batches:
        return {}
    sums: dict[str, list[float]] = {"velocity": [], "velocity_other_text": [], "sung": [], "sung_other_lyrics": []}
    for batch in batches:
        words = batch.words
        sung = (words.lyric_mask.sum(dim=1) > 1).nonzero().flatten()
        text = dataclasses.replace(words, text_ids=words.text_ids.roll(1, 0), text_mask=words.text_mask.roll(1, 0))
        rows = torch.arange(len(batch.data))
        rows[sung] = sung.roll(1)
        lyrics = dataclasses.replace(words, lyric_ids=words.lyric_ids[rows], lyric_mask=words.lyric_mask[rows])
        noise = torch.randn_like(batch.data)
        own = _errors(task, batch, noise)
        sums["velocity"] += own.tolist()
        if len(rows) > 1:
            sums["velocity_other_text"] += _errors(task, dataclasses.replace(batch, words=text), noise).tolist()
        if len(sung) > 1:
            other = _errors(task, dataclasses.replace(batch, words=lyrics), noise)
            sums["sung"] += own[sung].tolist()
            sums["sung_other_lyrics"] += other[sung].tolist()
    return {name: float(np.mean(errors)) for name, errors in sums.items() if errors}


def _held_out_batches(task: PreviewTask, count: int, seed: int) -> list[SongBatch]:
    """The first `count` held-out songs in batches of similar length, the same at every preview."""
    limit = task.crop
    lengths = {index: task.songs.songs[index].frames for index in task.held_out[:count]}
    crops = [Crop(index, 0, min(frames, limit or frames)) for index, frames in lengths.items()]
    crops.sort(key=lambda crop: crop.frames)
    random = np.random.default_rng([seed, 3])
    rows = max(1, min(ROWS, task.budget // max((crop.frames for crop in crops), default=1)))
    chunks = [crops[first : first + rows] for first in range(0, len(crops), rows)]
    return [task.assemble(chunk, random, Blanks.none(len(chunk))) for chunk in chunks]


def _errors(task: PreviewTask, batch: SongBatch, noise: Tensor) -> Tensor:
    """Squared error (B,) of each row's velocity, as the mean over real frames and over LEVELS."""
    data, noise, mask = batch.data.to(task.device), noise.to(task.device), batch.mask.to(task.device)
    total = torch.zeros(len(data), device=task.device)
    for level in LEVELS:
        levels = torch.full((len(data),), level, device=task.device)
        with task.autocast():
            velocity = task.velocity(batch, add_noise(data, noise, levels), levels)
        squares = (velocity - (noise - data)).square().mean(dim=(1, 2)) * mask
        total += squares.sum(dim=1) / mask.sum(dim=1)
    return (total / len(LEVELS)).cpu()


@torch.no_grad()
def render_songs(task: PreviewTask, settings: PreviewSettings, folder: Path) -> None:
    """Sample songs with prompts of held-out songs.

    Each is written as `song-N.png` (its mel and the real song's), `song-N.flac` and `song-N.txt` (its prompt and
    lyrics). Where songs cannot be decoded, for example because the decoder is not trained yet, a warning is logged.

    Raises:
        StorageError: a file cannot be written.
    """
    if not settings.songs:
        return
    indices = (task.held_out or list(range(len(task.songs))))[: settings.songs]
    try:
        for number, index in enumerate(indices):
            _render(task, settings, folder / f"song-{number}", index)
    except StorageError:
        raise
    except FlowsError as error:
        log.warning("songs cannot be previewed: %s", error)


def _render(task: PreviewTask, settings: PreviewSettings, path: Path, index: int) -> None:
    from acestep_flows import storage
    from acestep_flows.audio import write
    from acestep_flows.model.autoencoder import Autoencoder
    from acestep_flows.model.placement import Placement
    from acestep_flows.model.vocoder import load_vocoder
    from acestep_flows.training.loop.picture import compare_mels
    from acestep_flows.values import MODEL_RATE, Audio

    song = task.songs.songs[index]
    crop = Crop(index, 0, min(settings.frames, song.frames))
    target = task.choose_target(song, np.random.default_rng([index]))
    latents = sample(task, crop, target, settings)
    autoencoder = Autoencoder.load(task.checkpoint, Placement(), halves=["decoder"])
    mel = autoencoder.decode(latents.numpy())
    real = autoencoder.decode(task.songs.latents(index, target.track, 0, crop.frames))
    storage.write(
        path.with_suffix(".txt"), f"{song.key}: {target.track}\n{target.prompt}\n\n{target.lyrics}\n".encode()
    )
    compare_mels(path.with_suffix(".png"), {f"sampled: {target.prompt}": mel[0], "real": real[0]})
    samples = load_vocoder(task.checkpoint, Placement()).decode(mel)
    write.audio(path.with_suffix(".flac"), Audio(samples, MODEL_RATE))


def sample(task: PreviewTask, crop: Crop, target: SongTarget, settings: PreviewSettings) -> Tensor:
    """Sample latents (8, 16, T) by Euler's method, guided against blanked words. The song's number is the seed."""
    options = SamplerOptions(
        steps=settings.steps,
        omega=0.0,
        guidance="cfg",
        guidance_scale=settings.guidance_scale,
        guidance_interval=1.0,
        erg_diffusion=False,
    )
    words: dict[BranchName, WordTokens] = {
        "conditional": task.tokenize([target], Blanks.none(1)),
        "null": task.tokenize([target], Blanks.all(1)),
    }
    noise = torch.from_numpy(draw(crop.song, crop.frames))
    trajectory = text2music(noise, options, SeededDraws(crop.song, after=crop.frames))
    denoiser = PreviewDenoiser(task, words, task.control([crop], [target]))
    return denoise(trajectory, denoiser).latents.contiguous()


@dataclass(frozen=True, eq=False)
class PreviewDenoiser(Denoiser):
    """The network in training, with the words of one song.

    Attributes:
        words: the words of each guidance branch.
        control: (1, 8, 16, T) latents of the control track, if there is one.
    """

    task: PreviewTask
    words: Mapping[BranchName, WordTokens]
    control: Tensor | None

    @torch.no_grad()
    def predict(self, rows: Sequence[QueryRow]) -> list[Tensor]:
        velocities = []
        for row in rows:
            noisy = row.query.latents[None].to(self.task.device)
            levels = torch.full((1,), row.query.timestep / TRAINING_STEPS, device=self.task.device)
            batch = self.task.song_batch(noisy, self.words[row.query.branch], self.control)
            with self.task.autocast():
                velocities.append(self.task.velocity(batch, noisy, levels)[0])
        return velocities
