from __future__ import annotations

import pytest

from acestep_flows.errors import InputError
from acestep_flows.text.languages import SUPPORTED, check_language, encoded_as, tag


def test_chinese_has_a_tag_of_its_own() -> None:
    assert tag("zh") == "[zh-cn]"
    assert {tag(language) for language in SUPPORTED if language != "zh"} == {f"[{x}]" for x in SUPPORTED if x != "zh"}


@pytest.mark.parametrize("language", SUPPORTED)
def test_supported_languages_stay(language: str) -> None:
    assert encoded_as(language, "upstream") == encoded_as(language, "corrected") == check_language(language) == language


@pytest.mark.parametrize("code", ["sv", "vi", "gl", "no", ""])
def test_everything_else_is_english(code: str) -> None:
    assert encoded_as(code, "upstream") == encoded_as(code, "corrected") == "en"


@pytest.mark.parametrize(("code", "language"), [("zh-tw", "zh"), ("zh_hant", "zh"), ("spa", "es"), ("spa-mx", "es")])
def test_variants_join_their_language_when_corrected(code: str, language: str) -> None:
    assert encoded_as(code, "upstream") == "en"
    assert encoded_as(code, "corrected") == language


@pytest.mark.parametrize(("hint", "language"), [("EN", "en"), (" pt-BR ", "pt"), ("zh-CN", "zh"), ("spa", "es")])
def test_hints_are_read_generously(hint: str, language: str) -> None:
    assert check_language(hint) == language


@pytest.mark.parametrize("hint", ["sv", "", "english"])
def test_unknown_hint_is_refused(hint: str) -> None:
    with pytest.raises(InputError, match="language: .*allowed: ar, cs, de"):
        check_language(hint)
