"""Waveform to latents and back: resampling, log-mel, autoencoder, vocoder, windowed decoding (spec 04)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import torch

from acestep_flows.audio.resample import resample
from acestep_flows.model.autoencoder import Autoencoder
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.vocoder import Vocoder
from acestep_flows.values import MODEL_RATE, OUTPUT_RATE, SAMPLES_PER_FRAME, FloatArray
from tests.parity.reference import Case, Reference

GOLDEN = "dcae.safetensors"


class Networks(NamedTuple):
    autoencoder: Autoencoder
    vocoder: Vocoder


@pytest.fixture(scope="module")
def networks(reference: Reference) -> Networks:
    checkpoint = Checkpoint.open(reference.checkpoint)
    return Networks(Autoencoder.load(checkpoint, Placement()), Vocoder.load(checkpoint, Placement()))


def test_dcae(case: Case, networks: Networks, reference: Reference) -> None:
    inputs, params = set(case.inputs), set(case.params)
    if params == {"file", "samples_used", "sample_rate"} and not inputs:
        encode_file(case, networks, reference)
    elif params == {"sample_rate", "audio_lengths"} and inputs == {"audios"}:
        encode_batch(case, networks)
    elif params == {"out_sample_rates"} and inputs - {"log_mel"} == {"latents"}:
        decode(case, networks)
    elif params == {"audio_lengths", "sr"} and inputs == {"latents"}:
        decode_trimmed(case, networks)
    elif params == {"sr", "native_offsets", "native_window", "block"} and inputs == {"latents"}:
        decode_overlapped(case, networks)
    else:
        case.unknown()


def encode_file(case: Case, networks: Networks, reference: Reference) -> None:
    path = reference.goldens / case.params["file"]
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True, frames=case.params["samples_used"])
    assert rate == case.params["sample_rate"]
    stereo = np.repeat(samples.T, 2, axis=0) if samples.shape[1] == 1 else samples.T
    resampled = resample(stereo, rate, MODEL_RATE)
    if "resampled_head" in case.outputs:
        head = case.outputs["resampled_head"].shape[-1]
        case.assert_close("resampled_head", batch(resampled[:, :head]))
        case.assert_equal("resampled_length", torch.tensor(resampled.shape[1]))
        case.assert_close("log_mel", networks.autoencoder.log_mel(resampled)[None])
        case.assert_equal("latent_lengths", latent_lengths([samples.shape[0]], rate))
    if "latents" in case.outputs:
        case.assert_close("latents", batch(networks.autoencoder.encode(resampled)))


def encode_batch(case: Case, networks: Networks) -> None:
    rate = case.params["sample_rate"] or OUTPUT_RATE
    songs = [resample(song.numpy(), rate, MODEL_RATE) for song in case.inputs["audios"]]
    case.assert_close("latents", batch(*(networks.autoencoder.encode(song) for song in songs)))
    case.assert_equal("latent_lengths", latent_lengths(case.params["audio_lengths"], rate))


def decode(case: Case, networks: Networks) -> None:
    if "log_mel" in case.inputs:  # where the checkpoint lacks the decoder that computes it
        mels = list(case.inputs["log_mel"].numpy())
    else:
        mels = [networks.autoencoder.decode(latents.numpy()) for latents in case.inputs["latents"]]
        case.assert_close("log_mel", batch(*mels))
    left = torch.from_numpy(np.stack([mel[0] for mel in mels])).transpose(1, 2).contiguous()
    if "vocoder_backbone_ch0" in case.outputs:
        with torch.inference_mode():
            case.assert_close("vocoder_backbone_ch0", networks.vocoder.backbone(left).transpose(1, 2))
    for rate in case.params["out_sample_rates"]:
        songs = [resample(networks.vocoder.decode(mel), MODEL_RATE, rate) for mel in mels]
        case.assert_close(f"wav_{rate}", batch(*songs))


def decode_trimmed(case: Case, networks: Networks) -> None:
    tail = case.outputs["wav_tail"].shape[-1]
    tails = []
    for latents, length in zip(case.inputs["latents"], case.params["audio_lengths"], strict=True):
        native = networks.vocoder.decode(networks.autoencoder.decode(latents.numpy()))
        trimmed = resample(native, MODEL_RATE, case.params["sr"])[:, :length]
        case.assert_equal("length", torch.tensor(trimmed.shape[1]))
        tails.append(trimmed[:, -tail:])
    case.assert_close("wav_tail", batch(*tails))


def decode_overlapped(case: Case, networks: Networks) -> None:
    (latents,) = case.inputs["latents"].numpy()
    mel = networks.autoencoder.decode(latents, overlap=True)
    native = networks.vocoder.decode(mel, overlap=True, compatibility="upstream")
    case.assert_equal("length_44100", torch.tensor(native.shape[1]))
    starts, size = case.params["native_offsets"], case.params["native_window"]
    case.assert_close("windows_44100", torch.from_numpy(np.stack([native[:, s : s + size] for s in starts])))

    rate, block = case.params["sr"], case.params["block"]
    # Upstream cuts the resampled song to the truncated length, one sample short of the resampler's.
    song = resample(native, MODEL_RATE, rate)[:, : native.shape[1] * rate // MODEL_RATE]
    case.assert_equal(f"length_{rate}", torch.tensor(song.shape[1]))
    blocks = song[:, : song.shape[1] // block * block].reshape(len(song), -1, block).astype(np.float64)
    case.assert_close(f"block_mean_{rate}", torch.from_numpy(blocks.mean(-1)))
    case.assert_close(f"block_rms_{rate}", torch.from_numpy(np.sqrt((blocks**2).mean(-1))))


def batch(*songs: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.stack(songs))


def latent_lengths(samples: list[int], rate: int) -> torch.Tensor:
    """Valid latent frames of each song (spec 04 section 4); the product works with the padded length."""
    return torch.tensor([int(length / rate * MODEL_RATE / SAMPLES_PER_FRAME) for length in samples])
