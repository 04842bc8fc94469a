from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from acestep_flows.text.romanize import romanize_japanese, romanize_korean


@pytest.mark.parametrize(
    ("japanese", "latin"),
    [
        ("あなたの先生", "anata no sensei"),
        ("カツカレー", "cutlet curry"),
        ("愛してる、ベイビー", "aishiteru, baby"),
        ("コーヒーとチョコレート", "coffee to chocolate"),
        ("君の名前を3回呼んだ", "kimi no namae wo 3 kai yonda"),
        ("Love me", "love me"),
        ("", ""),
    ],
)
def test_japanese_is_romanized(japanese: str, latin: str) -> None:
    assert romanize_japanese(japanese) == latin


@pytest.mark.parametrize(
    ("korean", "latin"),
    [("비 오는 날에", "bi oneun nal-e"), ("사랑해 너를 영원히", "salanghae neoleul yeong-wonhi"), ("love 2", "love 2")],
)
def test_korean_is_romanized(korean: str, latin: str) -> None:
    assert romanize_korean(korean) == latin


def test_threads_do_not_disturb_each_other() -> None:
    lines = ["あなたの先生", "愛してる、ベイビー", "東京の夜、ネオンが光る"] * 20
    alone = [romanize_japanese(line) for line in lines]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(romanize_japanese, lines)) == alone
