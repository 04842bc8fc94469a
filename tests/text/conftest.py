"""A small lyric vocabulary: single characters, and special tokens with ids that differ from the published ones."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Whitespace

from acestep_flows.text.languages import SUPPORTED, language_token
from acestep_flows.text.lyrics import LyricTokenizer
from acestep_flows.text.structure_tags import STRUCTURE


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    special = ["[UNK]", "[STOP]", "[START]", "[SPACE]", *map(language_token, SUPPORTED), *STRUCTURE]
    entries = [*special, *string.ascii_lowercase, *string.digits, *",.!'-()"]
    tokenizer = Tokenizer(BPE({token: number for number, token in enumerate(entries)}, [], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    path = tmp_path_factory.mktemp("vocabulary") / "lyric-vocab.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="session")
def tokenizer(vocabulary: Path) -> LyricTokenizer:
    return LyricTokenizer(vocabulary)
