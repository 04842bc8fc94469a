"""How inputs are written on the command line."""

from __future__ import annotations

_LISTS = {
    "text": """{name}='["first", "second"]' or {name}=@FILE with blank lines between texts""",
    "int": "{name}=1,2,3 or {name}=1..3",
    "seed": "{name}=1,2,3 or {name}=1..3",
    "float": "{name}=0.5,1,2.5",
    "bool": "{name}=true,false",
    "span": "{name}='[[0, 4], [8, 12]]'",
    "record": "{name}='[{{...}}, {{...}}]' (JSON) or {name}=@FILE",
    "audio": "{name}=one.wav,two.wav",
}
_SINGLE = {
    "text": "{name}=... or {name}=@FILE",
    "int": "{name}=10",
    "float": "{name}=0.5",
    "seed": "{name}=7",
    "bool": "{name}=true",
    "span": "{name}=4:7 (start:end in seconds)",
    "record": "{name}='{{...}}' (JSON) or {name}=@FILE",
    "list": "{name}='[..., ...]' (JSON) or {name}=@FILE",
}


def written_form(name: str, kind: str, item: str = "") -> str:
    """How an input is given to `--set`: `seeds=1,2,3 or seeds=1..3`.

    Args:
        kind: the kind of its port type.
        item: the kind of the elements, where it is a list.
    """
    form = _LISTS.get(item) if kind == "list" else None
    return (form or _SINGLE.get(kind, "{name}=FILE")).format(name=name)
