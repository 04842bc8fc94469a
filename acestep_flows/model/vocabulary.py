"""Small vocabularies for checkpoints made by this package, in the formats of the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "pl", "tr", "ru", "cs", "nl", "ar", "zh-cn", "ja", "hu", "ko", "hi")
STRUCTURE = (
    "start",
    "intro",
    "verse",
    "chorus",
    "bridge",
    "outro",
    "end",
    "inst",
    "solo",
    "hook",
    "pre-chorus",
    "break",
)
SCRIPTS = ((0x21, 0x7F), (0xA1, 0x180), (0x410, 0x460), (0x621, 0x653), (0x900, 0x970))
"""Ranges of code points in normalised lyrics, end excluded: Latin (two), Cyrillic, Arabic, Devanagari."""

PROMPT_TOKENS = ("<pad>", "</s>", "<unk>")
"""The tokens with the first ids of a prompt vocabulary."""


def byte_tokenizer() -> str:
    """A byte tokenizer as `tokenizers` JSON: three special tokens and 256 bytes; every prompt ends with `</s>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = list(PROMPT_TOKENS)
    symbols = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: index for index, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    text: str = tokenizer.to_str(pretty=True)
    return text


def word_tokenizer(words: Iterable[str], aliases: Mapping[str, str] | None = None) -> str:
    """A tokenizer of whole words as `tokenizers` JSON: lower case, split at white space and punctuation.

    A word that is neither in `words` nor an alias of one becomes `<unk>`.

    Args:
        words: the vocabulary.
        aliases: words of ASCII letters, each mapped to the word of the vocabulary that replaces it.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    symbols = [*PROMPT_TOKENS, *sorted({word.lower() for word in words})]
    vocab = {symbol: index for index, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.add_special_tokens(list(PROMPT_TOKENS))
    replacements = [
        normalizers.Replace(Regex(rf"\b{alias}\b"), word.lower())
        for alias, word in (aliases or {}).items()
        if alias not in vocab
    ]
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), *replacements])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s,;:.!?()\[\]\"/_-]+"), "removed")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    text: str = tokenizer.to_str(pretty=True)
    return text


def lyric_vocabulary(pieces: Iterable[str] = ()) -> dict[str, Any]:
    """A character vocabulary as `tokenizers` JSON, with all special tokens of the published lyric vocabulary.

    Args:
        pieces: lower-case pieces of words, such as syllables, with tokens of their own. A word is cut into the longest
            pieces from its start on, and single characters elsewhere.
    """
    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{name}]" for name in LANGUAGES + STRUCTURE)]
    letters = [chr(code) for first, end in SCRIPTS for code in range(first, end)]
    longer = sorted({piece for piece in pieces if len(piece) > 1})
    vocab = {symbol: index for index, symbol in enumerate(special + letters + longer)}
    flags = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocab[token], "content": token} | flags for token in special],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": _longest_pieces(vocab) if longer else _characters(vocab),
    }


def _characters(vocab: Mapping[str, int]) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": "[UNK]",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "vocab": vocab,
        "merges": [],
    }


def _longest_pieces(vocab: Mapping[str, int]) -> dict[str, Any]:
    return {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "",
        "max_input_chars_per_word": 10_000,
        "vocab": vocab,
    }
