"""Stages that share forward passes: every item of a random group comes out as it does alone."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import FlowsError, InputError, StageError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.contract import Stage, Watch
from acestep_flows.stages.registry import stages
from acestep_flows.values import Mel, Value, pack
from tests.stages.material import latents, tone
from tests.stages.running import loaded

WORDS = ["neon", "light", "river", "[chorus]", "midnight", "la", "dans", "la nuit\n"]
EXACT = {"text", "ids", "mask", "skipped"}


class Passes(Watch):
    """How many items each pass had."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def forward_pass(self, items: int) -> None:
        self.made.append(items)


def words(draw: random.Random, most: int) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(1, most)))


def mel(frames: int, seed: int) -> Mel:
    levels = np.random.default_rng(seed).uniform(-11, 3, (2, 128, frames))
    return Mel(levels.astype(np.float32))


def items(name: str, draw: random.Random, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Inputs and parameters."""
    if name == "encode_prompt":
        return [({}, {"tags": words(draw, 60)}) for _ in range(count)]
    if name == "encode_lyrics":
        adapters: list[dict[str, Any]] = [{}, {}, {"adapter": "voice"}, {"adapter": "voice", "adapter_weight": 0.5}]
        lyrics = [words(draw, 40) if draw.random() < 0.8 else "" for _ in range(count)]
        return [({}, {"lyrics": text, **draw.choice(adapters)}) for text in lyrics]
    lengths = [draw.choice([3, 11, 12]) for _ in range(count)]
    if name == "decode_latents":
        return [({"latents": latents(long, seed)}, {"overlap": draw.choice([None, True])})
                for seed, long in enumerate(lengths)]  # fmt: skip
    likes = [draw.choice([None, tone(0.2)]) for _ in range(count)]
    mels = [mel(8 * long, seed) for seed, long in enumerate(lengths)]
    return [({"mel": one, "like": like}, {}) for one, like in zip(mels, likes, strict=True)]


def assert_near(found: Any, expected: Any) -> None:
    for field in fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert isinstance(one, Value)
        (arrays, told), (wanted, said) = pack(one), pack(other)
        assert told == said
        assert arrays.keys() == wanted.keys()
        for key, array in arrays.items():
            assert array.shape == wanted[key].shape
            tolerance = 0.0 if key in EXACT else 1e-5
            np.testing.assert_allclose(array, wanted[key], rtol=tolerance, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", ["encode_prompt", "encode_lyrics", "decode_latents", "vocode"])
def test_every_item_of_a_group_is_what_it_is_alone(small: Checkpoint, name: str) -> None:
    stage, draw = loaded(name, small), random.Random(name)
    shared = 0
    for count in (2, 5, 9):
        batch = items(name, draw, count)
        ins = [stage.In(**inputs) for inputs, _ in batch]
        params = [stage.Params(**given) for _, given in batch]
        passes = Passes()
        together = stage.run(ins, params, passes)
        alone = [stage.run([one], [other])[0] for one, other in zip(ins, params, strict=True)]
        for found, expected in zip(together, alone, strict=True):
            assert_near(found, expected)
        assert sum(passes.made) == count
        shared += count - len(passes.made)
    assert shared >= 4, "they do share passes"


def test_the_stages_that_share_say_so() -> None:
    assert {name for name, stage in stages().items() if stage.batches_items} == {
        "encode_prompt", "encode_lyrics", "decode_latents", "vocode"
    }  # fmt: skip


def test_a_song_that_cannot_be_encoded_harms_no_other(small: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    stage: Any = loaded("encode_lyrics", small)
    texts = ["la la la", "na na na", "la la la"]
    whole = stage.tokenizer.encode

    def encode(text: str, **how: Any) -> Any:
        if text.startswith("na"):
            raise InputError("no such words")
        return whole(text, **how)

    monkeypatch.setattr(stage.tokenizer, "encode", encode)
    outs = stage.run([stage.In()] * 3, [stage.Params(lyrics=text) for text in texts])
    assert [isinstance(out, FlowsError) for out in outs] == [False, True, False]


def test_a_pass_that_is_too_large_is_made_in_parts(small: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    stage: Any = loaded("decode_latents", small)
    whole = stage.autoencoder.decode_batch

    def short(songs: list[Any], **how: Any) -> Any:
        if len(songs) > 1 or songs[0][0, 0, 0] == 7:
            raise MemoryError("too much")
        return whole(songs, **how)

    monkeypatch.setattr(stage.autoencoder, "decode_batch", short)
    songs = [latents(4, seed) for seed in range(3)]
    bad = latents(4, 9).array.copy()
    bad[0, 0, 0] = 7
    songs.insert(1, type(songs[0])(bad))
    passes = Passes()
    outs = stage.run([stage.In(song) for song in songs], [stage.Params()] * 4, passes)
    assert isinstance(outs[1], StageError)
    assert passes.made == [1, 1, 1]
    for song, out in zip(songs, outs, strict=True):
        if not isinstance(out, FlowsError):
            assert out.mel.digest == stage.run([stage.In(song)], [stage.Params()])[0].mel.digest


def test_channels_that_share_their_phases_share_them_with_no_other_song(
    small: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage: Any = loaded("vocode", small)
    monkeypatch.setattr(type(stage.vocoder), "channels_independent", False)
    passes, item = Passes(), stage.In(mel=mel(16, 1))
    outs = stage.run([item, item], [stage.Params()] * 2, passes)
    assert passes.made == [1, 1]
    assert outs[0].audio.digest == outs[1].audio.digest


def test_long_music_counts_more() -> None:
    sizes: list[tuple[type[Stage], Any, int]] = []
    decode, vocode = stages()["decode_latents"], stages()["vocode"]
    for frames, size in ((0, 1), (1, 1), (323, 1), (324, 2), (2584, 8)):
        sizes.append((decode, decode.In(latents=latents(frames)), size))  # type: ignore[call-arg]
    sizes.append((vocode, vocode.In(mel=mel(8 * 324, 0)), 2))  # type: ignore[call-arg]
    assert [stage.size(item) for stage, item, _ in sizes] == [size for *_, size in sizes]
