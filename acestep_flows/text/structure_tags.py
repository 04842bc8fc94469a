"""The structure tags that the model knows, and the many ways in which people write them."""

from __future__ import annotations

import re
from itertools import pairwise

STRUCTURE = (
    *("[start]", "[intro]", "[verse]", "[chorus]", "[bridge]", "[outro]"),
    *("[end]", "[inst]", "[solo]", "[hook]", "[pre-chorus]", "[break]"),
)
"""Tokens for the parts of a song. Lyrics may contain them anywhere."""

_NAMES = {
    "start": "start",
    "intro": "intro introduction einleitung entrada introducción introdução introduzione "
    "前奏 イントロ 인트로 интро вступление",
    "verse": "verse vers strophe estrofa verso strofa couplet couplets zwrotka sloka versszak kıta куплет 主歌 歌词 "
    "ヴァース aメロ 벌스 절",
    "chorus": "chorus refrain refrains refrein estribillo coro ritornello refrão refren refrén nakarat koro "
    "kórus припев 副歌 サビ コーラス 후렴 코러스",
    "bridge": "bridge brücke puente pont ponte brug híd köprü бридж 桥段 橋段 间奏桥 bメロ ブリッジ 브리지 브릿지",
    "outro": "outro coda ausklang finale závěr befejezés концовка кода 尾奏 尾声 アウトロ 아웃트로",
    "end": "end ende fin fine fim einde koniec konec vége конец 结束 結束 おわり 끝",
    "inst": "inst instrumental instrumentals interlude zwischenspiel interludio interlúdio strumentale instrumentaal "
    "intermezzo mezihra проигрыш инструментал 间奏 間奏 纯音乐 器乐 インスト 간주",
    "solo": "solo 独奏 獨奏 ソロ 솔로 соло",
    "hook": "hook drop 记忆点 フック 훅 хук",
    "pre-chorus": "pre-chorus prechorus pre-refrain pré-refrain precoro pre-coro pré-refrão 导歌 預副歌 预副歌 "
    "プリコーラス 프리코러스 предприпев",
    "break": "break breakdown pause pausa breakje брейк 停顿 ブレイク 브레이크",
}
_TAG_OF = {name: f"[{tag}]" for tag, names in _NAMES.items() for name in names.split()}

_WORDS = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_COUNT = re.compile(r"[\s\d#.:,xX×()一二三四五六七八九十]*|[ivxIVX]+")


def structure_tag(name: str) -> str:
    """The structure tag for a name such as "Verse 1", "Pre Chorus", "副歌" or "Guitar Solo"; "" for other names.

    A name of several words takes the tag of its last known word ("guitar solo") unless the first one is known
    ("outro - fade").
    """
    plain = name.strip().lower()
    if f"[{plain}]" in STRUCTURE:
        return f"[{plain}]"
    words = _WORDS.findall(plain)
    joined = ["-".join(pair) for pair in pairwise(words)]
    for candidate in [*joined, *words[:1], *reversed(words[1:])]:
        if candidate in _TAG_OF:
            return _TAG_OF[candidate]
    return ""


def is_spoken_name(name: str) -> bool:
    """Whether `name`, written without brackets, is a part of a song: "Verse 1", but neither "verse of my life" nor
    "solo", which may be sung."""
    words = [word for word in _WORDS.findall(name.strip().lower()) if not _COUNT.fullmatch(word)]
    return _TAG_OF.get("-".join(words), "") in _NEVER_SUNG


_NEVER_SUNG = frozenset({"[intro]", "[verse]", "[chorus]", "[bridge]", "[outro]", "[pre-chorus]", "[inst]"})
