from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words

from acestep_flows.text import numbers
from acestep_flows.text.numbers import spell_numbers
from acestep_flows.values import Compatibility

BOTH: tuple[Compatibility, ...] = ("upstream", "corrected")


@pytest.mark.parametrize(
    ("language", "text", "spoken"),
    [
        ("fr", "10 000 nuits", "dix mille nuits"),
        ("fr", "1 234 567", "un million deux cent trente-quatre mille cinq cent soixante-sept"),
        ("es", "2 000 noches", "dos mil noches"),
        ("de", "10\u202f000 Nächte", "zehntausend Nächte"),
        ("en", "10\u00a0000 nights", "ten thousand nights"),
        ("en", "10 000", "ten zero"),  # English groups by commas: these are two numbers
        ("fr", "1 2 300", "un deux trois cents"),
        ("fr", "12 34", "douze trente-quatre"),
        ("fr", "le 10 0000", "le dix zéro"),
    ],
)
def test_blanks_between_groups_when_corrected(language: str, text: str, spoken: str) -> None:
    assert spell_numbers(text, language, "corrected") == spoken
    if " " in text and language == "fr" and "000" in text:
        assert spell_numbers(text, language, "upstream").startswith(("dix zéro", "le dix zéro"))


@pytest.mark.parametrize("compatibility", BOTH)
@pytest.mark.parametrize(
    ("language", "text", "spoken"),
    [
        # group separators
        ("en", "1,234.5", "one thousand, two hundred and thirty-four point five"),
        ("en", "1,234,567", "one million, two hundred and thirty-four thousand, five hundred and sixty-seven"),
        ("en", "12,34", "twelve point three four"),
        ("ru", "1,000 дней", "одна тысяча дней"),
        ("de", "1.234,5", "eintausendzweihundertvierunddreißig Komma fünf"),
        ("es", "2.000 noches", "dos mil noches"),
        # currencies, the sign on either side, whole amounts without cents
        ("en", "$20", "twenty dollars"),
        ("en", "20$", "twenty dollars"),
        ("en", "£1,200.50", "one thousand, two hundred pounds sterling, fifty pence"),
        ("en", "€5 and $3.25", "five euro and three dollars, twenty-five cents"),
        ("es", "$20.50", "veinte dólares con cincuenta centavos"),
        ("es", "20€", "veinte euros"),
        ("de", "20,15€", "zwanzig Euro und fünfzehn Cent"),
        ("fr", "20,15€", "vingt euros et quinze centimes"),
        ("it", "20€", "venti euro"),
        ("ko", "$20", "이십달러 영센트"),  # it lacks the joiner, so nothing is cut off
        ("nl", "20€", "twintig euro"),
        # a currency without words ends the step; decimals and cardinals are spelled nevertheless
        ("pl", "£20 i 5€", "£dwadzieścia i pięć€"),
        ("tr", "$20", "$yirmi"),
        ("en", "£5 $1.2.3 5€", "five pounds sterling $one point two.three five€"),
        # decimals
        ("en", "3.5", "three point five"),
        ("fr", "3,5", "trois virgule cinq"),
        # ordinals, whatever follows the suffix
        ("en", "1st 2nd 3rd 4th", "first second third fourth"),
        ("en", "5theory", "fiftheory"),
        ("es", "2º piso", "segundo piso"),
        ("fr", "1er, 2e", "premier, deuxième"),
        ("de", "am 1. mai, nr. 3.5", "am erste mai, nr. drei Komma fünf"),
        ("pt", "3º", "terceiro"),
        ("it", "1° maggio", "primo maggio"),
        ("pl", "1st", "pierwszy"),
        ("ru", "3-го мая", "третий мая"),
        ("nl", "3e", "derde"),
        ("tr", "1. gün 5inci", "birinci gün beşinci"),
        ("tr", "12.5", "onikincibeş"),
        ("hu", "3. nap", "harmadik nap"),
        ("ko", "1번째", "첫 번째"),
        # cardinals
        ("en", "2024/08/24", "two thousand and twenty-four/eight/twenty-four"),
        ("ar", "50", "خمسون"),
        ("nl", "21 a1b", "eenentwintig aéénb"),
    ],
)
def test_numbers_are_spelled(language: str, text: str, spoken: str, compatibility: Compatibility) -> None:
    assert spell_numbers(text, language, compatibility) == spoken


def test_any_character_separates_groups_upstream() -> None:
    text = "1234567.890"
    assert spell_numbers(text, "de", "upstream") == num2words(1234567890, lang="de")
    assert spell_numbers(text, "de", "corrected") == num2words(1234567.890, lang="de")


def test_czech_has_numbers_only_when_corrected() -> None:
    with pytest.raises(NotImplementedError):
        spell_numbers("12 dní", "cs", "upstream")
    assert spell_numbers("12 dní", "cs", "corrected") == "dvanáct dní"


@pytest.mark.parametrize("text", ["1" * 5000, "1" * 400 + ".5"])
def test_a_number_without_words_raises(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        spell_numbers(text, "en", "corrected")


LANGUAGES = ("ar", "cs", "de", "en", "es", "fr", "hu", "it", "ko", "nl", "pl", "pt", "ru", "tr")


@given(number=st.integers(0, 10**12), language=st.sampled_from(LANGUAGES))
def test_no_digit_is_left(number: int, language: str) -> None:
    spoken = spell_numbers(f"a {number} z", language, "corrected")
    assert not any(character.isdigit() for character in spoken)
    assert spoken == f"a {num2words(number, lang=language)} z"


def test_threads_do_not_disturb_each_other() -> None:
    texts = [f"{number}.{number % 7}5" for number in range(200)]
    alone = [spell_numbers(text, "en", "corrected") for text in texts]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda text: spell_numbers(text, "en", "corrected"), texts)) == alone


@given(text=st.text(alphabet="12.,£$ a", max_size=24))
def test_linear_patterns_match_as_the_plain_ones(text: str) -> None:
    plain = {
        numbers._DECIMAL: r"\d+[.,]\d+",
        numbers._CARDINAL: r"\d+",
        numbers._CURRENCIES[0][0]: r"£[\d.,]*\d+|[\d.,]*\d+£",
        numbers._CURRENCIES[1][0]: r"\$[\d.,]*\d+|[\d.,]*\d+\$",
    }
    for pattern, slow in plain.items():
        assert [match.span() for match in pattern.finditer(text)] == [match.span() for match in re.finditer(slow, text)]
