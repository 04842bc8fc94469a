from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.text import lyrics as module
from acestep_flows.text.languages import SUPPORTED, language_token
from acestep_flows.text.lyric_lines import LyricLine
from acestep_flows.text.lyrics import MAX_TOKENS, MAX_WARNINGS, LyricTokenizer
from acestep_flows.text.song_languages import song_languages
from acestep_flows.text.structure_tags import STRUCTURE
from acestep_flows.values import Compatibility

BOTH: tuple[Compatibility, ...] = ("upstream", "corrected")


@pytest.fixture(scope="module")
def published(request: pytest.FixtureRequest) -> LyricTokenizer:
    """The vocabulary that the published model uses."""
    path = request.config.getoption("--reference") / "lyric-vocab.json"
    if not path.is_file():
        pytest.skip(f"no lyric vocabulary at {path}; give --reference DIR")
    return LyricTokenizer(path)


def tokens(tokenizer: LyricTokenizer, lyrics: str, compatibility: Compatibility = "corrected") -> str:
    """The tokens of `lyrics` as text."""
    ids = tokenizer.encode(lyrics, compatibility=compatibility).ids
    return " ".join(str(tokenizer._tokenizer.id_to_token(int(number))) for number in ids)


# The published vocabulary.


@pytest.mark.parametrize("compatibility", BOTH)
def test_the_example_of_the_spec(published: LyricTokenizer, compatibility: Compatibility) -> None:
    lyrics = "[verse]\nNeon lights they flicker bright\n\n[chorus]\n我走过深夜的街道\n"
    expected = [
        *(261, 259, 6683, 2, 259, 111, 47, 2, 75, 20, 583, 32, 2, 141, 2, 468, 91, 2820, 2, 243, 343, 583, 2, 2),
        *(259, 6684, 2, 5023, 4893, 39, 4632, 4819, 120, 18, 4574, 4676, 17, 4650, 4799, 4665, 2, 2),
    ]
    encoded = published.encode(lyrics, compatibility=compatibility)
    assert encoded.ids.tolist() == expected
    assert encoded.mask.tolist() == [1.0] * len(expected)
    assert [line.language for line in encoded.lines] == ["en", "en", "", "en", "zh", ""]
    assert encoded.warnings == ()


@pytest.mark.parametrize(
    ("token", "number"),
    [
        *(("[STOP]", 0), ("[UNK]", 1), ("[SPACE]", 2), ("[START]", 261), ("[en]", 259), ("[de]", 260), ("[fr]", 262)),
        *(("[it]", 285), ("[es]", 284), ("[pt]", 286), ("[pl]", 294), ("[tr]", 295), ("[ru]", 267), ("[cs]", 293)),
        *(("[nl]", 297), ("[ar]", 5022), ("[zh-cn]", 5023), ("[ja]", 5412), ("[hu]", 5753), ("[ko]", 6152)),
        *(("[hi]", 6680), *zip(STRUCTURE, range(6681, 6693), strict=True)),
    ],
)
def test_ids_of_special_tokens(published: LyricTokenizer, token: str, number: int) -> None:
    """The ids of the spec's table. The code itself finds ids by name."""
    assert published._tokenizer.token_to_id(token) == number


@pytest.mark.parametrize(
    ("line", "ids"),
    [
        ("[Verse]", [259, 6683]),
        ("[instrumental]", [259, 1, 718, 1951, 763, 56, 1]),
        ("[Verse 1]", [259, 1, 35, 173, 18, 2, 28, 111, 1]),
    ],
)
def test_structure_lines_are_english(published: LyricTokenizer, line: str, ids: list[int]) -> None:
    assert published.encode(line, compatibility="upstream").ids.tolist() == [261, *ids, 2]


@pytest.mark.parametrize(("line", "number"), [("[Verse]", 6683), ("[instrumental]", 6688), ("[Verse 1]", 6683)])
def test_names_of_parts_become_structure_tags_when_corrected(published: LyricTokenizer, line: str, number: int) -> None:
    assert published.encode(line, compatibility="corrected").ids.tolist() == [261, 259, number, 2]


# The form of whole lyrics, on the small vocabulary.


@pytest.mark.parametrize("compatibility", BOTH)
def test_empty_lyrics_are_a_masked_zero(tokenizer: LyricTokenizer, compatibility: Compatibility) -> None:
    encoded = tokenizer.encode("", compatibility=compatibility)
    assert encoded.ids.tolist() == [0]
    assert encoded.ids.dtype == np.int64
    assert encoded.mask.tolist() == [0.0]
    assert encoded.mask.dtype == np.float32


@pytest.mark.parametrize(
    ("lyrics", "expected"),
    [
        (" ", "[START] [SPACE]"),
        ("\n", "[START] [SPACE] [SPACE]"),
        ("  ab  \n\n", "[START] [en] a b [SPACE] [SPACE] [SPACE]"),
        ("a b\r\nc", "[START] [en] a [SPACE] b [SPACE] [en] c [SPACE]"),
        ("[] 我", "[START] [en] [UNK] [UNK] [SPACE] [UNK] [SPACE]"),
    ],
)
def test_lines_and_separators(tokenizer: LyricTokenizer, lyrics: str, expected: str) -> None:
    hints = dict.fromkeys(range(1, 5), "en")
    for compatibility in BOTH:
        encoded = tokenizer.encode(lyrics, compatibility=compatibility, line_languages=hints)
        assert [tokenizer._tokenizer.id_to_token(int(number)) for number in encoded.ids] == expected.split()


def test_a_tag_before_words_is_a_line_of_its_own_when_corrected(tokenizer: LyricTokenizer) -> None:
    assert tokens(tokenizer, "[verse] ab", "upstream") == "[START] [en] [verse] [SPACE] a b [SPACE]"
    assert tokens(tokenizer, "[verse] ab you") == "[START] [en] [verse] [SPACE] [en] a b [SPACE] y o u [SPACE]"
    encoded = tokenizer.encode("x\n[verse] ab you", compatibility="corrected", line_languages={2: "de"})
    assert [(line.number, line.language) for line in encoded.lines] == [(1, "en"), (2, "en"), (2, "de")]


def test_only_brackets_at_the_start_make_a_structure_line_upstream(tokenizer: LyricTokenizer) -> None:
    def language(line: str) -> str:
        return tokenizer.encode_line(LyricLine(1, line), "zh", compatibility="upstream").language

    assert language("[我] 我") == "en"
    assert language("我 [verse]") == "zh"
    assert language("[我") == "zh"


def test_a_line_that_fails_is_left_out_and_reported(
    tokenizer: LyricTokenizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(text: str, language: str, compatibility: Compatibility) -> str:
        if text == "bad":
            raise RuntimeError("no such reading")
        return text

    monkeypatch.setattr(module, "normalize", failing)
    with caplog.at_level(logging.WARNING):
        encoded = tokenizer.encode("a\nbad\nb", compatibility="corrected", language="en")
    assert tokenizer.decode(encoded.ids) == "[START][en]a [en]b "  # no separator for the skipped line
    assert [line.skipped for line in encoded.lines] == ["", "RuntimeError: no such reading", ""]
    assert encoded.warnings == ("line 2 was left out: RuntimeError: no such reading",)
    assert "left out the line 'bad'" in caplog.text


def test_hints_replace_detection(tokenizer: LyricTokenizer) -> None:
    lyrics = "love\nlove\n[verse]"
    encoded = tokenizer.encode(lyrics, compatibility="corrected", language="de", line_languages={2: "zh-CN"})
    assert [line.detected for line in encoded.lines] == ["de", "zh", "de"]
    assert [line.language for line in encoded.lines] == ["de", "zh", "en"]


@pytest.mark.parametrize(
    ("arguments", "where"), [({"language": "xx"}, "language"), ({"line_languages": {3: "x"}}, "line 3")]
)
def test_unknown_hints_are_refused(tokenizer: LyricTokenizer, arguments: dict[str, object], where: str) -> None:
    with pytest.raises(InputError, match=f"^{where}: 'x+' .*allowed: ar"):
        tokenizer.encode("love", compatibility="corrected", **arguments)  # type: ignore[arg-type]


def test_lines_of_digits_take_the_language_of_the_song_when_corrected(tokenizer: LyricTokenizer) -> None:
    lyrics = "[verse]\n1, 2, 3, 4!\nIch liebe dich und die Nacht\n5 6 7"
    corrected = tokenizer.encode(lyrics, compatibility="corrected")
    assert [line.language for line in corrected.lines] == ["en", "de", "de", "de"]
    assert corrected.lines[1].normalized == "eins, zwei, drei, vier!"
    upstream = tokenizer.encode(lyrics, compatibility="upstream")
    assert [line.language for line in upstream.lines] == ["en", "zh", "de", "zh"]
    assert tokenizer.encode("123", compatibility="corrected").lines[0].language == "zh"


def test_written_pinyin_is_chinese_when_corrected(tokenizer: LyricTokenizer) -> None:
    assert tokens(tokenizer, "ni3 hao3") == "[START] [zh-cn] n i 3 [SPACE] h a o 3 [SPACE]"
    assert "3" not in tokens(tokenizer, "ni3 hao3", "upstream")


# Limits and control tokens.


def test_too_long_lyrics_are_cut_with_a_warning_when_corrected(tokenizer: LyricTokenizer) -> None:
    lyrics = "\n".join(["abc"] * 1000)  # 5 tokens each
    encoded = tokenizer.encode(lyrics, compatibility="corrected", language="en")
    whole = tokenizer.encode(lyrics, compatibility="upstream", language="en")
    assert len(whole.ids) == 5001
    assert whole.warnings == ()
    assert encoded.ids.tolist() == whole.ids[:MAX_TOKENS].tolist()
    assert len(encoded.mask) == MAX_TOKENS
    assert encoded.warnings == ("the model reads 4096 tokens: lyrics are cut in line 820 of 1000",)
    assert len(encoded.lines) == 1000
    assert [bool(line.skipped) for line in encoded.lines] == [False] * 820 + [True] * 180


def test_lyrics_of_exactly_the_limit_give_no_warning(tokenizer: LyricTokenizer) -> None:
    encoded = tokenizer.encode("\n".join(["abc"] * 819), compatibility="corrected", language="en")
    assert len(encoded.ids) == MAX_TOKENS
    assert encoded.warnings == ()


@pytest.mark.parametrize("name", [language_token(language) for language in SUPPORTED])
def test_language_tokens_in_lyrics_are_plain_text_when_corrected(tokenizer: LyricTokenizer, name: str) -> None:
    line = f"a {name} b"
    upstream = tokenizer.encode(line, compatibility="upstream", language="de")
    corrected = tokenizer.encode(line, compatibility="corrected", language="de")
    number = tokenizer._tokenizer.token_to_id(name)
    assert upstream.ids[1:].tolist().count(number) == 1 + (name == "[de]")
    assert corrected.ids[1:].tolist().count(number) == 0 + (name == "[de]")
    # bracketed like any other unknown word
    assert tokenizer.decode(corrected.ids) == f"[START][de]a [UNK]{name[1:-1]}[UNK] b "


@pytest.mark.parametrize("name", ["[STOP]", "[START]", "[UNK]", "[SPACE]", "[stop]", "[[en]]", "[en][en]", "x[en]y"])
@pytest.mark.parametrize("language", SUPPORTED)
def test_lyrics_cannot_insert_control_tokens_when_corrected(
    tokenizer: LyricTokenizer, name: str, language: str
) -> None:
    report = tokenizer.encode_line(LyricLine(1, f"a {name} b"), language, compatibility="corrected")
    controls = {
        tokenizer._tokenizer.token_to_id(token) for token in ("[STOP]", "[START]", *map(language_token, SUPPORTED))
    }
    assert report.ids[0] == tokenizer._tokenizer.token_to_id(language_token(language))
    assert not controls & set(report.ids[1:])


def test_structure_tokens_are_not_escaped(tokenizer: LyricTokenizer) -> None:
    assert tokens(tokenizer, "[en] a", "upstream") == "[START] [en] [en] [SPACE] a [SPACE]"
    assert tokens(tokenizer, "[en] a b") == "[START] [en] [UNK] e n [UNK] [SPACE] a [SPACE] b [SPACE]"
    encoded = tokenizer.encode("a [break] b", compatibility="corrected", language="en")
    assert tokenizer.decode(encoded.ids) == "[START][en]a [break] b "


@pytest.mark.parametrize(
    ("lyrics", "message"),
    [("a\ud83d", "lone surrogate"), ("x" * 100_001, "100001 characters"), ("a\0", "control character")],
)
def test_unusable_lyrics_are_refused(tokenizer: LyricTokenizer, lyrics: str, message: str) -> None:
    for compatibility in BOTH:
        with pytest.raises(InputError, match=message):
            tokenizer.encode(lyrics, compatibility=compatibility)
        with pytest.raises(InputError, match=message):
            tokenizer.training_ids(lyrics, compatibility=compatibility)


LONG = 100_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "pattern",
    [
        "1",
        "!",
        "(",
        "'",
        "<",
        "<a>",
        "1.",
        "£1",
        "나a",
        "我a",
        "（我",
        "é ě ",
        "[en]",
        "ni3",
        "5个",
        "a二",
        "1/",
        "😀",
        "\n",
    ],
)
def test_a_hundred_thousand_characters_take_linear_time(tokenizer: LyricTokenizer, pattern: str) -> None:
    """A quadratic pattern would take minutes here. The letter at the end prevents a match."""
    lyrics = (pattern * LONG)[: LONG - 1] + "x"
    encoded = tokenizer.encode(lyrics, compatibility="corrected", language="en")
    assert 1 <= len(encoded.ids) <= MAX_TOKENS
    assert song_languages([lyrics], [None])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pattern", ["a", "1", "カ", "カツ", "あ", "東", "()", "ab "])
def test_japanese_lines_take_linear_time(tokenizer: LyricTokenizer, pattern: str) -> None:
    """The Japanese analyser is quadratic in a run without a known word, so it gets a piece at a time."""
    lyrics = (pattern * LONG)[:LONG]
    assert len(tokenizer.encode(lyrics, compatibility="upstream", language="ja").ids) > 1000


MIXED = st.text(
    alphabet=st.one_of(
        st.sampled_from("abE我の나яहé5 .,'\"£%[]\n(（“<>/-😀♪1$"),
        st.characters(exclude_categories=["Cs", "Cc"]),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lyrics=MIXED, compatibility=st.sampled_from(BOTH))
def test_any_lyrics_can_be_encoded(tokenizer: LyricTokenizer, lyrics: str, compatibility: Compatibility) -> None:
    encoded = tokenizer.encode(lyrics, compatibility=compatibility)
    repeated = tokenizer.encode(lyrics, compatibility=compatibility)
    assert encoded.ids.tolist() == repeated.ids.tolist()
    assert encoded.ids.shape == encoded.mask.shape
    if lyrics:
        numbers = [line.number for line in encoded.lines]
        assert numbers == sorted(numbers)
        if compatibility == "upstream":
            assert numbers == list(range(1, lyrics.count("\n") + 2))
            assert not encoded.warnings
        assert not any(line.skipped for line in encoded.lines)
        assert len(encoded.ids) == 1 + sum(len(line.ids) + 1 for line in encoded.lines)


def test_threads_share_a_tokenizer(tokenizer: LyricTokenizer) -> None:
    songs = ["愛してる 3", "I have 12.5 reasons", "我有50个苹果", "사랑 1번째", "كان هناك 50 جنديا"] * 10
    alone = [tokens(tokenizer, song) for song in songs]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda song: tokens(tokenizer, song), songs)) == alone


# Letters that cannot be sung.


def test_letters_outside_the_vocabulary_are_told_line_by_line(tokenizer: LyricTokenizer) -> None:
    encoded = tokenizer.encode("[verse]\nab ab\nமழை ab\nคืน", compatibility="corrected", language="en")
    assert encoded.warnings == (
        "line 3: 3 of 5 letters cannot be sung (மழை: not in the model's vocabulary)",
        "line 4: 3 of 3 letters cannot be sung (คืน: not in the model's vocabulary)",
    )
    assert tokenizer.encode("மழை", compatibility="upstream").warnings == ()


def test_many_lines_that_cannot_be_sung_are_counted(tokenizer: LyricTokenizer) -> None:
    warnings = tokenizer.encode("\n".join(["มา"] * 50), compatibility="corrected").warnings
    assert len(warnings) == MAX_WARNINGS + 1
    assert warnings[-1] == "30 more lines have letters that cannot be sung"


@pytest.mark.parametrize(
    ("case", "expected", "warned"),
    [
        ("lyr_cr.txt", ["[verse]", "rain on the old street", "you are not back", "[chorus]", "stay"], ()),
        ("lyr_ls.txt", ["[verse]", "rain on the old street", "you are not back", "[chorus]", "stay"], ()),
        ("lyr_fr_thousands.txt", ["[verse]", "je t'attends depuis dix mille nuits sans toi mon amour"], ()),
        ("lyr_lrc_en.txt", ["rain on the old street", "you are not back"], ()),
        ("lyr_lrc_zh.txt", ["yu3xia4zai4jiu4jie1shang4", "ni3hai2mei2you3hui2lai2"], ()),
        (
            "lyr_tag_zh.txt",
            ["[verse]", "yu3xia4zai4jiu4jie1shang4", "[chorus]", "ni3hai2mei2you3hui2lai2"],
            ("[副歌] is read as [chorus]",),
        ),
        ("lyr_nfd_es.txt", ["[verse]", "café más año"], ()),
        ("lyr_nfd_ko.txt", ["[verse]", "bi-oneun nal-e", "geolileul geol-eo"], ()),
        ("lyr_shy.txt", ["[verse]", "beautiful night"], ()),
        ("lyr_zwsp.txt", ["[verse]", "neighbour sings"], ()),
        (
            "lyr_short_es.txt",
            ["[verse]", "mi amor", "la noche", "en mil novecientos noventa y nueve tenia veinticinco", "ven aqui"],
            (),
        ),
        (
            "lyr_thai.txt",
            ["[verse]", "คืนนี้ฝนตก", "ฉันรอเธอ"],
            ("line 2: 10 of 10 letters cannot be sung", "line 3: 8 of 8 letters cannot be sung"),
        ),
        ("lyr_tamil.txt", ["[verse]", "மழை பெய்கிறது"], ("line 2: 12 of 12 letters cannot be sung",)),
    ],
)
def test_files_that_were_misread(
    request: pytest.FixtureRequest, published: LyricTokenizer, case: str, expected: list[str], warned: tuple[str, ...]
) -> None:
    file = request.config.getoption("--reference").parent / "cases" / "lyrics" / case
    if not file.is_file():
        pytest.skip(f"no case at {file}")
    encoded = published.encode(file.read_bytes().decode(), compatibility="corrected")
    assert [line.normalized for line in encoded.lines if line.text] == expected
    assert len(encoded.warnings) == len(warned)
    assert all(map(str.startswith, encoded.warnings, warned))


# The training form.


def test_training_form_uses_one_language_for_the_song(tokenizer: LyricTokenizer) -> None:
    ids = tokenizer.training_ids("[verse]\nI love you so much\n\nLa la la 5\n", compatibility="upstream")
    assert tokenizer.decode(ids) == "[START][en][verse]  [en]i love you so much   [en]la la la five  "


def test_training_form_falls_back_to_the_language_of_the_segment(tokenizer: LyricTokenizer) -> None:
    """The Russian letters are unknown in English, so the segment's own language is tried once."""
    ids = tokenizer.training_ids("I love you so much my friend\nда", compatibility="upstream")
    assert tokenizer.decode(ids).endswith("  [ru][UNK][UNK] ")


@pytest.mark.parametrize("compatibility", BOTH)
@pytest.mark.parametrize("lyrics", ["", "la\nPlease write a sad song that genre is pop\nla"])
def test_training_treats_an_instruction_as_empty_lyrics(
    tokenizer: LyricTokenizer, lyrics: str, compatibility: Compatibility
) -> None:
    assert tokenizer.training_ids(lyrics, compatibility=compatibility).tolist() == [0]


def test_training_refuses_songs_in_other_languages(tokenizer: LyricTokenizer) -> None:
    with pytest.raises(InputError, match="a song in 'sv'"):
        tokenizer.training_ids("Jag älskar dig för alltid\n" * 3, compatibility="corrected")


def test_training_form_is_cut(tokenizer: LyricTokenizer) -> None:
    assert len(tokenizer.training_ids("I love you so much\n" * 400, compatibility="upstream")) == MAX_TOKENS


# The vocabulary file.


def test_ids_are_found_by_name(tokenizer: LyricTokenizer) -> None:
    assert tokenizer._tokenizer.token_to_id("[START]") != 261
    assert tokens(tokenizer, "ab") == "[START] [en] a b [SPACE]"


def test_decode_shows_separators_as_blanks_and_drops_stops(tokenizer: LyricTokenizer) -> None:
    stop = tokenizer._tokenizer.token_to_id("[STOP]")
    ids = [*tokenizer.encode("a b\nc", compatibility="upstream").ids.tolist(), stop, 10**6]
    assert tokenizer.decode(ids).removeprefix("[START]") == "[en]a b [en]c "


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lyrics\.json: no such file .*acestep-flows fetch"):
        LyricTokenizer(tmp_path / "lyrics.json")


@pytest.mark.parametrize("content", ["", "{}", '{"version": "1.0"', "[1, 2]"])
def test_a_broken_vocabulary_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lyrics.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lyrics\.json: not a vocabulary"):
        LyricTokenizer(path)


def test_missing_tokens_are_named(tmp_path: Path, vocabulary: Path) -> None:
    path = tmp_path / "lyrics.json"
    path.write_text(vocabulary.read_text("utf-8").replace("[ko]", "[xx]"), encoding="utf-8")
    Tokenizer.from_file(str(path))
    with pytest.raises(CheckpointError, match=r"lacks \[ko\]"):
        LyricTokenizer(path)
