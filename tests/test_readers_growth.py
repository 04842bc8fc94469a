"""Readers of what callers send take time that grows with its size: texts, requests, uploads, recipes, manifests."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.execution.accepted_run import asset_id
from acestep_flows.api.execution.webhook_url import check_url
from acestep_flows.api.http.errors import Redactor
from acestep_flows.api.http.form_parser import MOST_PARAMETERS, MOST_PARTS, FormParser, FormPart
from acestep_flows.api.http.form_upload import form_boundary
from acestep_flows.api.http.ranges import content_disposition, parse_range
from acestep_flows.api.http.schema_base import check_json
from acestep_flows.api.options import public_address
from acestep_flows.bulk.manifest import open_manifest
from acestep_flows.errors import FlowsError, InputError
from acestep_flows.graph.language.suggest import unknown_input
from acestep_flows.graph.library import Library
from acestep_flows.input_reader import InputReader
from acestep_flows.recipes.carry_over import carry_over
from acestep_flows.recipes.read import read_recipe_alone
from acestep_flows.stages.ports import PortType
from acestep_flows.storage import path_fault
from acestep_flows.text.lyric_lines import read_lines
from acestep_flows.text.prompt import check_lyrics, check_prompt
from acestep_flows.text.structure_tags import structure_tag
from acestep_flows.wording import quantities, text_lists, typed_text
from acestep_flows.wording.phrases import unlike
from tests.growth import grows_with_its_size

TEXTS: dict[str, Callable[[int], str]] = {
    "letters": lambda n: "a" * n,
    "digits": lambda n: "9" * n,
    "blanks": lambda n: " " * n + "x",
    "blanks between": lambda n: "a" + " " * n + "b",
    "line breaks": lambda n: "\n" * n,
    "returns": lambda n: "\r" * n + "x",
    "commas": lambda n: "," * n,
    "numbers": lambda n: ",".join(map(str, range(n // 4))),
    "ranges": lambda n: ",".join(f"{i}..{i + 1}" for i in range(n // 8)),
    "colons": lambda n: ":" * n,
    "clock": lambda n: "1:" * (n // 2),
    "dots": lambda n: "1." * (n // 2),
    "dashes": lambda n: "1-" * (n // 2),
    "brackets": lambda n: "[" * n,
    "closed brackets": lambda n: "[" * (n // 2) + "]" * (n // 2),
    "pairs of brackets": lambda n: "[a]" * (n // 3),
    "braces": lambda n: '{"a":' * (n // 5),
    "quotes": lambda n: '"' * n,
    "escapes": lambda n: "\\" * n,
    "escaped breaks": lambda n: "\\n" * (n // 2),
    "parentheses": lambda n: "(" * n,
    "stamps": lambda n: "[00:01.00]" * (n // 10),
    "open stamps": lambda n: "[00:" * (n // 4),
    "tags": lambda n: "[verse 1]\n" * (n // 10),
    "lines": lambda n: "la la\n" * (n // 6),
    "percent": lambda n: "%41" * (n // 3),
    "slashes": lambda n: "/" * n,
    "at": lambda n: "@" * n,
    "url": lambda n: "http://" + "a." * (n // 2),
    "surrogates at the end": lambda n: "a" * n + "\ud800",
    "null at the end": lambda n: "a" * n + "\0",
    "wide": lambda n: "\uff11" * n,
    "emoji": lambda n: "\U0001f3b5" * n,
    "combining": lambda n: "a" + "\u0301" * n,
    "ranges of bytes": lambda n: "bytes=" + "0-1," * (n // 4),
    "semicolons": lambda n: "multipart/form-data" + ";" * n,
    "parameters": lambda n: "multipart/form-data" + "; a=b" * (n // 5),
}

TYPES = {
    "text": PortType("text"),
    "int": PortType("int"),
    "float": PortType("float"),
    "seed": PortType("seed"),
    "span": PortType("span"),
    "bool": PortType("bool"),
    "texts": PortType("list", PortType("text")),
    "numbers": PortType("list", PortType("float")),
    "seeds": PortType("list", PortType("seed")),
    "spans": PortType("list", PortType("span")),
    "records": PortType("list", PortType("record", fields=(("a", PortType("text")),))),
}
GRAPH = Library(working=None).load("text2music")


def reads_input(kind: PortType, text: str) -> object:
    return InputReader().read(text, kind, "x", "s")


READERS: dict[str, Callable[[str], object]] = {
    **{f"input {name}": partial(reads_input, kind) for name, kind in TYPES.items()},
    "number": lambda text: quantities.read_number(text, "x"),
    "seconds": lambda text: quantities.read_seconds(text, "x"),
    "span": lambda text: quantities.read_span(text, "x"),
    "truth": lambda text: quantities.read_truth(text, "x"),
    "typed form": lambda text: quantities.typed_form(text, "float"),
    "JSON": lambda text: text_lists.read_json(text, "x", "a list"),
    "plain list": lambda text: text_lists.split_plain(text, "x", "x=1"),
    "typed texts": lambda text: text_lists.split_typed_texts(text, "x"),
    "texts of a file": lambda text: text_lists.split_texts_of_file(text, "x"),
    "line breaks": typed_text.with_line_breaks,
    "mistakes": lambda text: list(typed_text.likely_mistakes(text, "x")),
    "prompt": check_prompt,
    "lyrics": check_lyrics,
    "lines of lyrics": read_lines,
    "structure tag": structure_tag,
    "asset": asset_id,
    "webhook": lambda text: check_url(text, "s" * 40, True),
    "address": public_address,
    "range": lambda text: parse_range(text, 1000),
    "disposition": content_disposition,
    "boundary": lambda text: form_boundary(text[:8000]),
    "JSON of a request": check_json,
    "redacted": Redactor(["/home/me", "/"]),
    "path": path_fault,
    "unknown input": lambda text: unknown_input(text, GRAPH.inputs),
    "unlike": lambda text: unlike("input", text, GRAPH.inputs),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_texts_are_read_in_time_that_grows_with_their_length(name: str) -> None:
    def read(text: str) -> None:
        with contextlib.suppress(FlowsError, ValueError):
            READERS[name](text)

    slow = [kind for kind, make in TEXTS.items() if not grows_with_its_size(make, read, 20_000)]
    assert slow == []


def parts(headers: str) -> bytes:
    return f"--xx\r\nContent-Disposition: form-data; name=file_name{headers}\r\n\r\nabc\r\n".encode()


FORMS: dict[str, Callable[[int], bytes]] = {
    "parts": lambda n: parts("") * n,
    "semicolons": lambda n: parts(";" * 100) * (n // 50),
    "many semicolons": lambda n: parts(";" * 16_000) * (n // 50),
    "quotes": lambda n: parts(';a="' + '\\"' * 7900) * (n // 50),
    "long header": lambda n: b"--xx\r\nX: " + b"a" * n,
    "content that looks like a boundary": lambda n: parts("; filename=a")[:-5] + b"\r\n--x" * n,
    "breaks": lambda n: parts("; filename=a")[:-5] + b"\r\n" * n,
}


def fed(content: bytes, step: int) -> list[FormPart | bytes]:
    parser = FormParser(b"xx")
    found: list[FormPart | bytes] = []
    with contextlib.suppress(ValueError):
        for begin in range(0, len(content), step):
            found += parser.feed(content[begin : begin + step])
    return found


@pytest.mark.parametrize("step", [1, 100, 1 << 16])
@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_forms_are_read_in_time_that_grows_with_their_length(make: Callable[[int], bytes], step: int) -> None:
    assert grows_with_its_size(make, lambda content: fed(content, step), 2000 if step > 1 else 500)


def test_a_form_has_so_many_parts_and_parameters() -> None:
    assert len(fed(parts("") * MOST_PARTS, 1000)) >= MOST_PARTS
    for content in (parts("") * (MOST_PARTS + 1), parts(";" * (MOST_PARAMETERS + 1))):
        with pytest.raises(ValueError, match="many"):
            list(FormParser(b"xx").feed(content))


RECIPES: dict[str, Callable[[int], Any]] = {
    "many inputs": lambda n: {"inputs": {f"i{k}": k for k in range(n)}},
    "many files": lambda n: {"inputs": {"source": [{"value": ["audio", f"{k:064x}"]} for k in range(n)]},
                             "files": {f"{k:064x}": f"asset:asset-{k:026x}" for k in range(n)}},
    "many nodes": lambda n: {"nodes": [{"id": f"n{k}", "stage": "trim"} for k in range(n)]},
    "many sums": lambda n: {"sha256": {f"f{k}": "0" * 64 for k in range(n)}},
    "many seeds": lambda n: {"seeds": {f"n{k}.seed": k for k in range(n)}},
    "a long text": lambda n: {"inputs": {"lyrics": "la " * (20 * n)}},
    "many unknown fields": lambda n: {f"f{k}": k for k in range(n)},
    "v1 with unknown parameters": lambda n: {"prompt": "a", "infer_step": 2, **{f"f{k}": k for k in range(n)}},
    "v1 with many seeds": lambda n: {"prompt": "a", "infer_step": 2, "actual_seeds": list(range(n))},
    "v1 with seeds in a text": lambda n: {"prompt": "a", "infer_step": 2, "oss_steps": "1, " * n},
    "v1 with a long path": lambda n: {"prompt": "a", "infer_step": 2, "task": "edit", "src_audio_path": "a/" * (5 * n)},
    "not a recipe": lambda n: [0] * n,
}  # fmt: skip


@pytest.mark.parametrize("make", RECIPES.values(), ids=RECIPES)
def test_recipes_are_read_in_time_that_grows_with_their_size(make: Callable[[int], Any], tmp_path: Path) -> None:
    def stored(size: int) -> Path:
        content = make(size)
        if isinstance(content, dict) and "infer_step" not in content:
            content = {"recipe": 1, "graph": {"name": "text2music", "digest": ""}, **content}
        path = tmp_path / f"{size}.json"
        path.write_text(json.dumps(content))
        return path

    def read(path: Path) -> None:
        with contextlib.suppress(InputError):
            recipe = read_recipe_alone(path, "body", check_json)
            carry_over(recipe, GRAPH, (), again=True).lines(recipe)

    assert grows_with_its_size(stored, read, 2000)


MANIFESTS: dict[str, Callable[[int], str]] = {
    "rows.csv": lambda n: "tags,lyrics\n" + "a,b\n" * n,
    "quotes.csv": lambda n: "tags,lyrics\n" + '"a\n",b\n' * n,
    "open-quotes.csv": lambda n: "tags,lyrics\n" + 'a"b,"c\n' * n,
    "quote-that-never-ends.csv": lambda n: 'tags,lyrics\n"' + "a,b\n" * n,
    "cells.csv": lambda n: "tags,lyrics\n" + "a," * n + "\n",
    "columns.csv": lambda n: ",".join(f"c{i}" for i in range(n)) + "\n",
    "long-cell.csv": lambda n: "tags,lyrics\n" + "a" * (20 * n) + ",b\n",
    "rows.tsv": lambda n: "tags\tlyrics\n" + "a\tb\n" * n,
    "rows.jsonl": lambda n: '{"tags": "a"}\n' * n,
    "no-json.jsonl": lambda n: "{\n" * n,
    "nested.jsonl": lambda n: ("[" * 500 + "\n") * (n // 20),
    "one-line.jsonl": lambda n: "[" * (20 * n),
    "keys.jsonl": lambda n: "{" + ", ".join(f'"k{i}": {i}' for i in range(n)) + "}\n",
    "same-keys.jsonl": lambda n: "{" + ", ".join('"k": 1' for _ in range(n)) + "}\n",
    "breaks.jsonl": lambda n: "\n" * (10 * n),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_read_in_time_that_grows_with_their_size(name: str, tmp_path: Path) -> None:
    def written(size: int) -> str:
        folder = tmp_path / str(size)
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(MANIFESTS[name](size))
        return str(folder / name)

    def read(url: str) -> None:
        with contextlib.suppress(InputError):
            manifest = open_manifest(url)
            manifest.columns()
            for _ in manifest.records():
                pass

    assert grows_with_its_size(written, read, 3000)


@pytest.fixture(autouse=True)
def _no_file_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
