"""The small vocabularies of checkpoints made by this package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from acestep_flows.model.vocabulary import LANGUAGES, byte_tokenizer, lyric_vocabulary, word_tokenizer
from acestep_flows.text.lyrics import LyricTokenizer


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    vocabulary = ["House", "124", "bpm", "C#", "minor", "hip", "hop", "a", "house"]
    return Tokenizer.from_str(word_tokenizer(vocabulary, {"techno": "house", "hip": "house"}))


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("house, 124 bpm", ["house", "124", "bpm", "</s>"]),
        ("HOUSE;124\tBPM.", ["house", "124", "bpm", "</s>"]),
        ("c# minor, hip-hop", ["c#", "minor", "hip", "hop", "</s>"]),
        ("a zither (house)", ["a", "<unk>", "house", "</s>"]),
        (" , ", ["</s>"]),
    ],
)
def test_prompts_are_split_into_known_words(words: Tokenizer, prompt: str, tokens: list[str]) -> None:
    assert words.encode(prompt).tokens == tokens


def test_an_alias_has_the_id_of_its_word_unless_it_is_a_word_itself(words: Tokenizer) -> None:
    techno, house, hip = (words.encode(word).ids[0] for word in ("Techno", "house", "hip"))
    assert techno == house != hip != words.token_to_id("<unk>")


def test_the_same_words_give_the_same_ids_in_any_order() -> None:
    assert word_tokenizer(["b", "a"]) == word_tokenizer(["a", "B", "b"])


def test_bytes_encode_any_prompt() -> None:
    tokenizer = Tokenizer.from_str(byte_tokenizer())
    assert "<unk>" not in tokenizer.encode("Größe 音楽 \x00").tokens


def test_lyrics_of_every_script_have_ids(tmp_path: Path) -> None:
    file = tmp_path / "lyric-vocab.json"
    file.write_text(json.dumps(lyric_vocabulary(), ensure_ascii=False), encoding="utf-8")
    tokenizer = LyricTokenizer(file)
    unknown = lyric_vocabulary()["model"]["vocab"]["[UNK]"]
    lyrics = "[verse]\nUnder the bridge\nпод мостом\nतारे"
    encoded = tokenizer.encode(lyrics, compatibility="corrected")
    assert unknown not in encoded.ids
    assert {f"[{language}]" for language in LANGUAGES} <= set(lyric_vocabulary()["model"]["vocab"])
