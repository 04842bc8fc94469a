"""Texts typed on a command line: what is read, what is warned of, and files behind `@`."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from acestep_flows.errors import InputError
from acestep_flows.input_reader import InputReader
from acestep_flows.stages.ports import PortType

TEXT = PortType("text")
NO_FILE = (
    "looks like the name of a file and is taken as words; lyrics=@FILE reads a file, and there is none of this name"
)


def read(text: str) -> str:
    value = InputReader().read(text, TEXT, "lyrics")
    assert isinstance(value, str)
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"[verse]\nThe last bus", "[verse]\nThe last bus"),
        (r"[verse]\r\nThe last bus", "[verse]\nThe last bus"),
        (r"la la\n\nlo lo", "la la\n\nlo lo"),
        (r"C:\new\adapter", r"C:\new\adapter"),
        ("plain", "plain"),
        ("@@home and away", "@home and away"),
    ],
)
def test_literal_line_breaks_are_read_where_no_path_is_meant(text: str, value: str) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("song.txt", "lyrics: 'song.txt' is a file; write lyrics=@song.txt to read it"),
        ("missing.txt", f"lyrics: 'missing.txt' {NO_FILE}"),
        ("texts/Missing.LRC", f"lyrics: 'texts/Missing.LRC' {NO_FILE}"),
        ("songs.json", f"lyrics: 'songs.json' {NO_FILE}"),
        ("song.docx", f"lyrics: 'song.docx' {NO_FILE}"),
        ("take.flac", f"lyrics: 'take.flac' {NO_FILE}"),
        ("no.1", None),
        ("wait...", None),
        ("see song.txt", None),
        ("'la la'", "lyrics: the quotes around 'la la' are taken as part of the text"),
        ("\u201cla la\u201d", "lyrics: the quotes around \u201cla la\u201d are taken as part of the text"),
        (r"la\nla", r"lyrics: the \n in 'la\\nla' is two characters, not a line break"),
        ("adapter.safetensors", None),
        ("folder", None),
        ("pop, 120 bpm", None),
        ("", None),
        ("x" * 5000, None),
        ("a\0b", None),
    ],
)
def test_likely_mistakes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str, warning: str | None
) -> None:
    (tmp_path / "song.txt").write_text("la")
    (tmp_path / "adapter.safetensors").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert read(text) == text
    assert caplog.messages == ([warning] if warning else [])


def test_a_file_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "song.txt").write_bytes(b"\xef\xbb\xbfa\\nb\r\nc\rd")
    (tmp_path / "windows.txt").write_bytes("h\u00e9\r\n".encode("utf-16"))
    assert read("@~/song.txt") == "a\\nb\nc\nd"
    assert read("@~/windows.txt") == "h\u00e9"
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@", "lyrics: @ names no file"),
        ("@~nobody-of-this-name/x", "lyrics: no home folder for '~nobody-of-this-name/x'"),
    ],
)
def test_a_file_that_cannot_be_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(text)
