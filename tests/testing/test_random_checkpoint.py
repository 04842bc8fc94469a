"""Random checkpoints: complete, the same for the same seed, and neither silent nor exploding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from acestep_flows.errors import StorageError
from acestep_flows.model.autoencoder import Autoencoder
from acestep_flows.model.checkpoint import PARTS, Checkpoint
from acestep_flows.model.layout import TRANSFORMER, VOCODER
from acestep_flows.model.placement import Placement
from acestep_flows.model.text_encoder import TextEncoder
from acestep_flows.model.vocabulary import LANGUAGES, STRUCTURE
from acestep_flows.model.vocoder import load_vocoder
from acestep_flows.testing.random_checkpoint import MIDDLE, SMALL, random_configs, write_random_checkpoint
from tests.model.small import small_checkpoint, small_folder


def test_it_is_a_complete_checkpoint_of_modest_size() -> None:
    assert small_checkpoint().lyric_vocab.is_file()
    size = sum(file.stat().st_size for file in small_folder().rglob("*") if file.is_file())
    assert 5e6 < size < 20e6


def test_the_same_seed_gives_the_same_files_and_another_gives_others(tmp_path: Path) -> None:
    for name, seed in (("again", 1), ("other", 2)):
        write_random_checkpoint(tmp_path / name, SMALL, seed)
    again, other = Checkpoint.open(tmp_path / "again"), Checkpoint.open(tmp_path / "other")
    for part in PARTS:
        assert again.digest(part) == small_checkpoint().digest(part)
        assert other.digest(part) != small_checkpoint().digest(part)


def test_no_two_tensors_are_alike() -> None:
    tensors = small_checkpoint().load(TRANSFORMER)
    a, b = (tensors[f"transformer_blocks.{index}.attn.to_q.weight"] for index in (0, 1))
    assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.05


def test_audio_is_finite_and_audible_and_survives_the_way_back() -> None:
    latents = np.random.default_rng(0).standard_normal((8, 16, 24)).astype(np.float32)
    autoencoder = Autoencoder.load(small_checkpoint(), Placement())
    waveform = load_vocoder(small_checkpoint(), Placement()).decode(autoencoder.decode(latents))
    assert 0.01 < waveform.std() < 0.3
    assert 0.05 < np.abs(waveform).max() < 1
    back = autoencoder.encode(waveform)
    assert np.isfinite(back).all()
    assert 0.1 < back.std() < 3


def test_text_states_are_finite_and_tell_prompts_apart() -> None:
    encoder = TextEncoder.load(small_checkpoint(), Placement())
    states, _ = encoder.encode(["rock", "jazz"])
    assert torch.isfinite(states).all()
    assert (states[0] - states[1]).abs().max() > 0.1


def test_the_lyric_vocabulary_has_every_special_token_and_letters_of_every_script() -> None:
    vocab = Tokenizer.from_file(str(small_checkpoint().lyric_vocab))
    for token in ("STOP", "UNK", "SPACE", "START", *LANGUAGES, *STRUCTURE):
        assert vocab.token_to_id(f"[{token}]") is not None
    assert vocab.get_vocab_size() == small_checkpoint().config(TRANSFORMER)["lyric_encoder_vocab_size"]
    text = "[en]neon[SPACE]ça[SPACE]привет[SPACE]مرحبا[SPACE]नमस्ते[SPACE]wo3men5[verse]"
    tokens = vocab.encode(text).tokens
    assert "[UNK]" not in tokens
    assert tokens[0] == "[en]"
    assert tokens[-1] == "[verse]"


def test_the_middle_size_is_that_of_the_benchmarks() -> None:
    configs = random_configs(MIDDLE, 500)
    transformer, vocoder = configs[TRANSFORMER], configs[VOCODER]
    assert (transformer["num_layers"], transformer["inner_dim"], transformer["lyric_hidden_size"]) == (24, 512, 256)
    assert vocoder["upsample_initial_channel"] == 128
    assert np.prod(vocoder["upsample_rates"]) == 512


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write a checkpoint: Not a directory$"):
        write_random_checkpoint(tmp_path / "file", SMALL, 0)
