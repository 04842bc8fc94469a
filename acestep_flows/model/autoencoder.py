"""The music autoencoder: 44.1 kHz stereo to latents, latents to log-mel (spec 04 sections 4 to 6).

The network is in `dcae.py`. A stage loads only the half that it needs. The checkpoint's config names the
class; another network that turns latents into log-mel is added to `NETWORKS` under its class name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model.allocator import return_freed_memory
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.copy_out import copied_out, own_stream
from acestep_flows.model.dcae import DcaeDecoder, DcaeEncoder
from acestep_flows.model.layout import AUTOENCODER, Config, class_name
from acestep_flows.model.mel import LogMel
from acestep_flows.model.placement import Placement
from acestep_flows.model.transfer import on_device
from acestep_flows.values import MEL_BANDS, MEL_FRAMES_PER_LATENT, SAMPLES_PER_FRAME, FloatArray

Half = Literal["encoder", "decoder"]

LATENT_SHIFT, LATENT_SCALE = -1.9091, 0.1786
"""Normalisation of the latent space: (z - shift) * scale. The config's own scaling factor is not used."""

MEL_LOW, MEL_HIGH = -11.0, 3.0
"""The log-mel range that is mapped to the network's -1..1. Nothing is clipped."""

WINDOW, HOP = 512, 256
"""Latent frames per window of the overlapped decode, and between windows. The middle half of a window is used."""


ON_PROCESSORS = ("cpu",)
"""Kinds of device that decode one piece after the other."""
TOGETHER = 4
"""Windows that a GPU decodes in one pass: about 3 GB with the published sizes."""

Window = tuple[int, int, int, int]
"""Start and end, and start and end of the used part, in latent frames."""


class Autoencoder:
    """One or both halves of the autoencoder. Songs go in and come out one by one, as numpy arrays."""

    def __init__(self, placement: Placement, encoder: nn.Module | None, decoder: nn.Module | None, mel: LogMel | None):
        self._placement = placement
        self._encoder, self._decoder, self._mel = encoder, decoder, mel

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, halves: Sequence[Half] = ("encoder", "decoder")
    ) -> Autoencoder:
        """Read the weights of `halves`. The encoder also needs the mel transform, which is in the vocoder's file.

        Raises:
            CheckpointError: a weights file lacks a tensor or has changed since the checkpoint was opened.
        """
        encoder = _load_half(checkpoint, placement, "encoder") if "encoder" in halves else None
        decoder = _load_half(checkpoint, placement, "decoder") if "decoder" in halves else None
        return cls(placement, encoder, decoder, LogMel.load(checkpoint, placement) if encoder else None)

    @torch.inference_mode()
    def log_mel(self, samples: FloatArray) -> Tensor:
        """Log-mel (2, 128, 8 T) of 44.1 kHz `samples` (2, n), zero-padded to whole latent frames.

        Raises:
            InputError: `samples` is not (2, n) or is empty.
        """
        assert self._mel is not None, "loaded without the encoder"
        length = samples.shape[-1]
        if samples.shape != (2, length) or not length:
            raise InputError(f"samples of shape {samples.shape}", where="audio", allowed="2 x at least one sample")
        padded = np.pad(samples, ((0, 0), (0, -length % SAMPLES_PER_FRAME)))
        mel: Tensor = self._mel(torch.from_numpy(padded).to(self._placement.device))
        return mel

    @torch.inference_mode()
    def encode(self, samples: FloatArray) -> FloatArray:
        """Latents (8, 16, T) of stereo `samples` (2, n) at 44.1 kHz; T = ceil(n / 4096).

        Raises:
            InputError: `samples` is not (2, n) or is empty.
        """
        assert self._encoder is not None, "loaded without the encoder"
        span = MEL_HIGH - MEL_LOW
        scaled = 2 * ((self.log_mel(samples) - MEL_LOW) / span) - 1
        z = self._encoder(self._cast(scaled[None])).float()
        latents: FloatArray = _array((z - LATENT_SHIFT) * LATENT_SCALE)[0]
        return latents

    @torch.inference_mode()
    def decode(self, latents: FloatArray, *, overlap: bool = False) -> FloatArray:
        """Log-mel (2, 128, 8 T) of `latents` (8, 16, T).

        Args:
            overlap: decode windows of 512 frames, so that memory stays bounded. The innermost stage attends over
                the whole window, so the result differs slightly from an undivided decode.
        """
        return self.decode_batch([latents], overlap=overlap)[0]

    @torch.inference_mode()
    def decode_batch(self, songs: Sequence[FloatArray], *, overlap: bool = False) -> list[FloatArray]:
        """`decode` for several songs of equal length, which share every forward pass."""
        device, frames = torch.device(self._placement.device), songs[0].shape[-1]
        whole = [(0, frames, 0, frames)] if frames else []
        windows = list(decode_windows(frames)) if overlap else whole
        shape = 2, MEL_BANDS, MEL_FRAMES_PER_LATENT * frames
        mels: list[Any]
        if device.type in ON_PROCESSORS:
            mels = [np.empty(shape, np.float32) for _ in songs]
            for number, window in enumerate(windows):
                if number:  # the pieces that a window freed fit the next one badly: every window would take more
                    return_freed_memory()
                parts = self._decode(torch.from_numpy(np.stack([song[..., window[0] : window[1]] for song in songs])))
                for mel, part in zip(mels, parts.numpy(), strict=True):
                    _keep(mel, part, window)
            return mels
        with own_stream(device):
            latents = on_device(torch.from_numpy(np.stack(songs)), device)
            mels = list(torch.empty(len(songs), *shape, device=device))
            for group in window_groups(len(songs), windows):
                cuts = torch.stack([latents[song, ..., window[0] : window[1]] for song, window in group])
                for part, (song, window) in zip(self._decode(cuts), group, strict=True):
                    _keep(mels[song], part, window)
            return [copied_out(mel).numpy() for mel in mels]

    def _decode(self, latents: Tensor) -> Tensor:
        """Log-mels of latents (B, 8, 16, T) on the same device."""
        assert self._decoder is not None, "loaded without the decoder"
        scaled: Tensor = self._decoder(self._cast(latents / LATENT_SCALE + LATENT_SHIFT)).float()
        return (0.5 * scaled + 0.5) * (MEL_HIGH - MEL_LOW) + MEL_LOW

    def _cast(self, batch: Tensor) -> Tensor:
        """(B, C, H, W) in the compute dtype, channels last."""
        return batch.to(getattr(torch, self._placement.dtype)).contiguous(memory_format=torch.channels_last)


def _keep(mel: Any, decoded: Any, window: Window) -> None:
    """Put the used part of a decoded window into a log-mel; both are arrays, or both tensors."""
    start, _, keep_from, keep_to = window
    offset, first, last = (frame * MEL_FRAMES_PER_LATENT for frame in (start, keep_from, keep_to))
    mel[..., first:last] = decoded[..., first - offset : last - offset]


def window_groups(songs: int, windows: Sequence[Window]) -> Iterator[Sequence[tuple[int, Window]]]:
    """Windows of songs that a GPU decodes in one pass: equally long, and no more than fit into memory."""
    for _, alike in groupby(windows, lambda window: window[1] - window[0]):
        every = [(song, window) for window in alike for song in range(songs)]
        yield from (every[first : first + TOGETHER] for first in range(0, len(every), TOGETHER))


def decode_windows(frames: int) -> Iterator[Window]:
    """Windows over `frames` latent frames, as (start, end, start of the used part, end of the used part)."""
    starts = range(0, max(frames - HOP, 1), HOP) if frames > WINDOW else range(min(frames, 1))
    margin = (WINDOW - HOP) // 2
    for start in starts:
        end = min(start + WINDOW, frames)
        first, last = start == 0, start == starts[-1]
        yield start, end, start if first else start + margin, end if last else end - margin


def _autoencoder_dc(config: Config, half: Half) -> nn.Module:
    return DcaeEncoder(config) if half == "encoder" else DcaeDecoder(config)


NETWORKS: dict[str, Callable[[Config, Half], nn.Module]] = {"AutoencoderDC": _autoencoder_dc}
"""Builders of one half, by class name: (B, 2, 128, F) to (B, 8, 16, F / 8), or back.

The parameters have the names of the file, without the prefix of the half.
"""


def _load_half(checkpoint: Checkpoint, placement: Placement, half: Half) -> nn.Module:
    config = checkpoint.config(AUTOENCODER)
    with torch.device("meta"):
        network = NETWORKS[class_name(config)](config, half)
    tensors = checkpoint.load(AUTOENCODER, prefix=f"{half}.", dtype=placement.dtype, device=placement.device)
    network.load_state_dict({name.removeprefix(f"{half}."): tensor for name, tensor in tensors.items()}, assign=True)
    network.eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _array(batch: Tensor) -> FloatArray:
    """A batch as a contiguous numpy array on the CPU."""
    return batch.cpu().contiguous().numpy()
