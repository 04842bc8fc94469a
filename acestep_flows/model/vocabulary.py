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


def lyric_vocabulary() -> dict[str, Any]:
    """A character vocabulary as `tokenizers` JSON, with all special tokens of the published lyric vocabulary."""
    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{name}]" for name in LANGUAGES + STRUCTURE)]
    letters = [chr(code) for first, end in SCRIPTS for code in range(first, end)]
    vocab = {symbol: index for index, symbol in enumerate(special + letters)}
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
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "vocab": vocab,
            "merges": [],
        },
    }
