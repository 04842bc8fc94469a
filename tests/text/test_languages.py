from __future__ import annotations

import pytest

from acestep_flows.errors import InputError
from acestep_flows.text.languages import SUPPORTED, check_language, encoding_language, language_token


def test_the_token_of_chinese_is_zh_cn() -> None:
    assert language_token("zh") == "[zh-cn]"
    assert {language_token(language) for language in SUPPORTED if language != "zh"} == {
        f"[{x}]" for x in SUPPORTED if x != "zh"
    }


@pytest.mark.parametrize("language", SUPPORTED)
def test_supported_languages_are_unchanged(language: str) -> None:
    assert (
        encoding_language(language, "upstream")
        == encoding_language(language, "corrected")
        == check_language(language)
        == language
    )


@pytest.mark.parametrize("code", ["sv", "vi", "gl", "no", ""])
def test_other_languages_are_encoded_as_english(code: str) -> None:
    assert encoding_language(code, "upstream") == encoding_language(code, "corrected") == "en"


@pytest.mark.parametrize(("code", "language"), [("zh-tw", "zh"), ("zh_hant", "zh"), ("spa", "es"), ("spa-mx", "es")])
def test_variants_join_their_language_when_corrected(code: str, language: str) -> None:
    assert encoding_language(code, "upstream") == "en"
    assert encoding_language(code, "corrected") == language


@pytest.mark.parametrize(("hint", "language"), [("EN", "en"), (" pt-BR ", "pt"), ("zh-CN", "zh"), ("spa", "es")])
def test_hints_may_have_any_case_and_region(hint: str, language: str) -> None:
    assert check_language(hint) == language


@pytest.mark.parametrize("hint", ["sv", "", "english"])
def test_unknown_hint_is_refused(hint: str) -> None:
    with pytest.raises(InputError, match="language: .*allowed: ar, cs, de"):
        check_language(hint)
