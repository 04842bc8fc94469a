"""Abbreviations and symbols as words (spec 03 section 3.1)."""

from __future__ import annotations

import re

_ABBREVIATIONS = {
    "en": "mrs misess, mr mister, dr doctor, st saint, co company, jr junior, maj major, gen general, drs doctors, "
    "rev reverend, lt lieutenant, hon honorable, sgt sergeant, capt captain, esq esquire, ltd limited, col colonel, "
    "ft fort",
    "es": "sra señora, sr señor, dr doctor, dra doctora, st santo, co compañía, jr junior, ltd limitada",
    "fr": "mme madame, mr monsieur, dr docteur, st saint, co compagnie, jr junior, ltd limitée",
    "de": "fr frau, dr doktor, st sankt, co firma, jr junior",
    "pt": "sra senhora, sr senhor, dr doutor, dra doutora, st santo, co companhia, jr júnior, ltd limitada",
    "it": "sig signore, dr dottore, st santo, co compagnia, jr junior, ltd limitata",
    "pl": "p pani, m pan, dr doktor, sw święty, jr junior",
    "cs": "dr doktor, ing inženýr, p pan",
    "ru": "г-жа госпожа, г-н господин, д-р доктор",
    "nl": "dhr de heer, mevr mevrouw, dr dokter, jhr jonkheer",
    "tr": "b bay, byk büyük, dr doktor",
    "hu": "dr doktor, b bácsi, nőv nővér",
}

_SIGNS = "&@%#$£°"
_SYMBOLS = {
    "en": "and/at/percent/hash/dollar/pound/degree",
    "es": "y/arroba/por ciento/numeral/dolar/libra/grados",
    "fr": "et/arobase/pour cent/dièse/dollar/livre/degrés",
    "de": "und/at/prozent/raute/dollar/pfund/grad",
    "pt": "e/arroba/por cento/cardinal/dólar/libra/graus",
    "it": "e/chiocciola/per cento/cancelletto/dollaro/sterlina/gradi",
    "pl": "i/małpa/procent/krzyżyk/dolar/funt/stopnie",
    "ar": "و/على/في المئة/رقم/دولار/جنيه/درجة",
    "zh": "和/在/百分之/号/美元/英镑/度",
    "cs": "a/na/procento/křížek/dolar/libra/stupně",
    "ru": "и/собака/процентов/номер/доллар/фунт/градус",
    "nl": "en/bij/procent/hekje/dollar/pond/graden",
    "tr": "ve/at/yüzde/diyez/dolar/sterlin/derece",
    "hu": "és/kukac/százalék/kettőskereszt/dollár/font/fok",
    "ko": "그리고/에/퍼센트/번호/달러/파운드/도",
}


def _rules(language: str, table: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    end = r"\b" if language == "ru" else r"\."
    pairs = (entry.split(" ", 1) for entry in table.split(", "))
    return tuple((re.compile(rf"\b{short}{end}", re.IGNORECASE), word) for short, word in pairs)


_ABBREVIATION_RULES = {language: _rules(language, table) for language, table in _ABBREVIATIONS.items()}
_SYMBOL_TABLES = {
    language: str.maketrans({sign: f" {word} " for sign, word in zip(_SIGNS, table.split("/"), strict=True)})
    for language, table in _SYMBOLS.items()
}


def spell_abbreviations(text: str, language: str) -> str:
    """Replace abbreviations such as "dr." by words, one abbreviation after the other."""
    for pattern, word in _ABBREVIATION_RULES.get(language, ()):
        text = pattern.sub(word, text)
    return text


def spell_symbols(text: str, language: str) -> str:
    """Replace the seven symbols & @ % # $ £ ° by words between blanks, and strip the ends.

    Raises:
        KeyError: the language has no table of symbols.
    """
    return text.translate(_SYMBOL_TABLES[language]).strip()
