"""Common words of the languages that are written in Latin letters: short lines have little else to be known by."""

from __future__ import annotations

import re
from collections.abc import Sequence

COMMON = {
    "cs": "a je jsem jsi se si na ne že to ty já my mě mi tě ti co jak když už ještě jen bez se mnou s tebou v "
    "do od pro kde kdo proč tak tady dnes zítra noc láska srdce můj moje tvůj tvoje není být chci",
    "de": "der die das den dem ein eine einen und ist bin bist ich du er sie wir ihr es mich dich mir dir mein "
    "meine dein deine nicht kein nie mehr auf in im mit ohne für von zu wenn wie was wo nur noch schon so "
    "auch komm herz nacht liebe",
    "en": "the a an and is are am was were be i you he she we they it me my your our his her them us to of in "
    "on at for with from this that what when where why how not no don't can't won't i'm you're it's all "
    "now never love let go night",
    "es": "el la los las un una y es soy eres está que de del en con sin por para mi tu su me te se lo no sí yo "
    "tú él ella nosotros cuando como donde más muy ya si todo nada nunca quiero noche amor corazón vida",
    "fr": "le la les un une des et est suis es je tu il elle nous vous on me te se mon ma mes ton ta tes son sa "
    "ne pas plus jamais de du dans sur avec sans pour que qui quand où comme si tout rien ça c'est j'ai "
    "moi toi nuit amour coeur",
    "hu": "a az egy és is nem ne hogy ha mert én te ő mi ti ők engem téged nekem neked velem veled ez ez a van "
    "volt lesz már még csak soha minden itt ott most mint vagyok vagy el fel le szerelem szív éj",
    "it": "il lo la i gli le un una e è sono sei che di del della in con senza per mi ti si non io tu lui lei "
    "noi voi mio mia tuo tua quando come dove più già se tutto niente mai ancora amore notte cuore vita",
    "nl": "de het een en is ben bent ik jij je hij zij wij we mij me jou mijn jouw niet geen nooit meer op in "
    "met zonder voor van te als hoe wat waar nog al zo ook hart nacht liefde naar zijn dat die dit",
    "pl": "i w na z ze do od nie tak to ty ja my mnie mi ci cię się jest jestem jesteś co jak gdy gdzie już "
    "jeszcze tylko bez dla o po moje mój twój twoje noc serce miłość kiedy chcę być nigdy",
    "pt": "o a os as um uma e é sou está que de do da em no na com sem por para meu minha teu tua seu sua me te "
    "se não sim eu tu você ele ela nós quando como onde mais muito já tudo nada nunca quero noite amor "
    "coração vida",
    "tr": "ve bir bu şu o ben sen biz siz beni seni bana sana benim senin ne nasıl nerede neden gibi için ile "
    "kadar daha çok hiç var yok değil mi mı de da ki gel git aşk kalp gece her şey ya ama",
}

_SETS = {language: frozenset(words.split()) for language, words in COMMON.items()}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def common_words(line: str, languages: Sequence[str]) -> list[int]:
    """How many words of `line` are common in each of the languages."""
    words = [word.replace("’", "'") for word in _WORD.findall(line.lower())]
    return [sum(word in _SETS[language] for word in words) for language in languages]
