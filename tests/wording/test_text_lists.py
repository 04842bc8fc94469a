"""Lists as people type them, and the files that hold texts of lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.errors import InputError
from acestep_flows.input_reader import InputReader
from acestep_flows.stages.ports import PortType

TEXTS, SEEDS, FLOATS, SPANS = (PortType("list", PortType(kind)) for kind in ("text", "seed", "float", "span"))


@pytest.mark.parametrize(
    ("kind", "text", "values"),
    [
        (SEEDS, "1,2,3", [1, 2, 3]),
        (SEEDS, "1, 2, 3,", [1, 2, 3]),
        (SEEDS, "1..3", [1, 2, 3]),
        (SEEDS, "1..2,9,random", [1, 2, 9, "random"]),
        (SEEDS, "7", [7]),
        (SEEDS, "[]", []),
        (FLOATS, "0.5,1", [0.5, 1.0]),
        (SPANS, "4:7,8:9", [[4, 7], [8, 9]]),
        (TEXTS, '["drums", "bass, slap"]', ["drums", "bass, slap"]),
        (TEXTS, "drums", ["drums"]),
        (TEXTS, "[verse] hola", ["[verse] hola"]),
        (TEXTS, "[verse]\\nhola", ["[verse]\nhola"]),
        (TEXTS, "one, with comma\ntwo", ["one, with comma", "two"]),
    ],
)
def test_lists_are_read(kind: PortType, text: str, values: list[object]) -> None:
    assert InputReader().read(text, kind, "it") == values


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (SEEDS, "", r"^it: empty \(allowed: it=1,2,3 or it=1\.\.3\)$"),
        (SEEDS, "1,,2", "element 2 of '1,,2' is empty"),
        (SEEDS, "1-3", r"'1-3' is not a whole number; write 1\.\.3"),
        (SEEDS, "3..1", "allowed: a rising range"),
        (SEEDS, "0..99999999", "allowed: a rising range"),
        (TEXTS, " ", r"empty \(allowed: it='\[\"first\", \"second\"\]' or it=@FILE with blank lines between texts"),
        (
            TEXTS,
            "drums, bass",
            r"one text or as 2 \(allowed: it='\[\"drums\", \"bass\"\]' or it='\[\"drums, bass",
        ),
        (TEXTS, "['a', 'b']", "is not JSON, at character 2; write straight double quotes"),
        (TEXTS, "[\u201ca\u201d]", "is not JSON, at character 2; write straight double quotes"),
        (TEXTS, '["a"', "is not JSON, at character 5"),
        (PortType("record", fields=(("a", PortType("int")),)), '{"a": 1, "a": 2}', "field 'a' is given twice"),
    ],
)
def test_what_is_no_list_says_what_to_write(kind: PortType, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        InputReader().read(text, kind, "it")


@pytest.mark.parametrize(
    ("content", "texts", "note"),
    [
        ("[verse]\na\n\n[chorus]\nb\n", ["[verse]\na", "[chorus]\nb"], "divided by blank lines"),
        ("\ufeff[verse]\r\na\r\n\r\n[chorus]\r\nb\r\n", ["[verse]\na", "[chorus]\nb"], "divided by blank lines"),
        ("[verse]\na\n\nb\n---\nc\n", ["[verse]\na\n\nb", "c"], "divided by a line ---"),
        ("pop\nrock, hard\n", ["pop", "rock, hard"], "divided by line breaks"),
        ("[verse]\na\nb\n", ["[verse]\na\nb"], None),
        ('["a\\n\\nb"]\n', ["a\n\nb"], None),
    ],
)
def test_a_file_of_texts(tmp_path: Path, content: str, texts: list[str], note: str | None) -> None:
    (tmp_path / "texts.txt").write_bytes(content.encode())
    reader = InputReader()
    assert reader.read(f"@{tmp_path}/texts.txt", TEXTS, "sections") == texts
    assert reader.notes == ([f"sections: {len(texts)} texts, {note}"] if note else [])


@pytest.mark.parametrize("content", ["[verse]\na\n[chorus]\nb\n", "a\n[chorus]\nb\n"])
def test_a_file_that_can_be_one_text_or_several_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "texts.txt").write_text(content)
    with pytest.raises(InputError, match="one text, or several.*a blank line or a line --- between texts"):
        InputReader().read(f"@{tmp_path}/texts.txt", TEXTS, "sections")
