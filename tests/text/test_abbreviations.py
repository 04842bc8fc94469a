from __future__ import annotations

import pytest

from acestep_flows.text.abbreviations import spell_abbreviations, spell_symbols

WORDS = {
    "en": "misess mister doctor saint company junior major general doctors reverend lieutenant honorable sergeant "
    "captain esquire limited colonel fort",
    "es": "señora señor doctor doctora santo compañía junior limitada",
    "fr": "madame monsieur docteur saint compagnie junior limitée",
    "de": "frau doktor sankt firma junior",
    "pt": "senhora senhor doutor doutora santo companhia júnior limitada",
    "it": "signore dottore santo compagnia junior limitata",
    "pl": "pani pan doktor święty junior",
    "cs": "doktor inženýr pan",
    "ru": "госпожа господин доктор",
    "nl": "de heer mevrouw dokter jonkheer",
    "tr": "bay büyük doktor",
    "hu": "doktor bácsi nővér",
}
SHORT = {
    "en": "mrs. mr. dr. st. co. jr. maj. gen. drs. rev. lt. hon. sgt. capt. esq. ltd. col. ft.",
    "es": "sra. sr. dr. dra. st. co. jr. ltd.",
    "fr": "mme. mr. dr. st. co. jr. ltd.",
    "de": "fr. dr. st. co. jr.",
    "pt": "sra. sr. dr. dra. st. co. jr. ltd.",
    "it": "sig. dr. st. co. jr. ltd.",
    "pl": "p. m. dr. sw. jr.",
    "cs": "dr. ing. p.",
    "ru": "г-жа г-н д-р",
    "nl": "dhr. mevr. dr. jhr.",
    "tr": "b. byk. dr.",
    "hu": "dr. b. nőv.",
}


@pytest.mark.parametrize("language", WORDS)
def test_every_abbreviation_is_spelled(language: str) -> None:
    assert spell_abbreviations(SHORT[language], language) == WORDS[language]


@pytest.mark.parametrize("language", ["ar", "zh", "ko"])
def test_languages_without_abbreviations_are_unchanged(language: str) -> None:
    assert spell_abbreviations("dr. st.", language) == "dr. st."


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("dr smith", "dr smith"),  # no dot
        ("best. dr.", "best. doctor"),  # no word boundary before
        ("Dr. DR.", "doctor doctor"),
        ("mr.dr.", "misterdr."),  # one after the other: no boundary is left
    ],
)
def test_word_boundaries(text: str, spoken: str) -> None:
    assert spell_abbreviations(text, "en") == spoken


def test_russian_needs_no_dot_but_a_boundary() -> None:
    assert spell_abbreviations("г-н. г-нов", "ru") == "господин. г-нов"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "and at percent hash dollar pound degree"),
        ("es", "y arroba por ciento numeral dolar libra grados"),
        ("fr", "et arobase pour cent dièse dollar livre degrés"),
        ("de", "und at prozent raute dollar pfund grad"),
        ("pt", "e arroba por cento cardinal dólar libra graus"),
        ("it", "e chiocciola per cento cancelletto dollaro sterlina gradi"),
        ("pl", "i małpa procent krzyżyk dolar funt stopnie"),
        ("ar", "و على في المئة رقم دولار جنيه درجة"),
        ("zh", "和 在 百分之 号 美元 英镑 度"),
        ("cs", "a na procento křížek dolar libra stupně"),
        ("ru", "и собака процентов номер доллар фунт градус"),
        ("nl", "en bij procent hekje dollar pond graden"),
        ("tr", "ve at yüzde diyez dolar sterlin derece"),
        ("hu", "és kukac százalék kettőskereszt dollár font fok"),
        ("ko", "그리고 에 퍼센트 번호 달러 파운드 도"),
    ],
)
def test_every_symbol_is_spelled(language: str, words: str) -> None:
    assert " ".join(spell_symbols("&@%#$£°", language).split()) == words


def test_symbols_get_blanks_and_the_ends_are_stripped() -> None:
    assert spell_symbols(" you&me ", "en") == "you and me"
    assert spell_symbols(" no symbol ", "en") == "no symbol"
