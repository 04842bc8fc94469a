"""Values in files of their own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.value_file import encode_value, form_of_music, read_value
from acestep_flows.values import Latents, Mel, Noise, Value


def latents() -> Latents:
    return Latents(np.random.default_rng(1).standard_normal((8, 16, 5)).astype(np.float32))


def test_the_same_value_is_the_same_file() -> None:
    assert len({encode_value(latents()) for _ in range(30)}) == 1


@pytest.mark.parametrize(
    "value",
    [
        latents(),
        Latents(np.asfortranarray(latents().array)),
        Mel(np.zeros((2, 128, 8), np.float32)),
        Noise(latents().array, 7, latents().array, 8, 0.5),
        Noise(latents().array, 7),
    ],
)
def test_a_value_comes_back_the_same(value: Value, tmp_path: Path) -> None:
    path = storage.write(tmp_path / "value.safetensors", encode_value(value))
    assert read_value(path, value.kind, "source") == value
    assert [file.name for file in tmp_path.iterdir()] == ["value.safetensors"]


def test_another_kind_is_refused(tmp_path: Path) -> None:
    path = storage.write(tmp_path / "value.safetensors", encode_value(latents()))
    with pytest.raises(InputError, match=r"source: .*value\.safetensors holds latents \(allowed: mel\)"):
        read_value(path, "mel", "source")


@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"\xff" * 100])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "value.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"source: cannot read .*value\.safetensors"):
        read_value(path, "latents", "source")


@pytest.mark.parametrize("metadata", [None, {"kind": "latents"}, {"kind": "latents", "fields": "{"}])
def test_a_foreign_safetensors_file_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "value.safetensors"
    save_file({"array": np.zeros((8, 16, 2), np.float32)}, path, metadata)
    with pytest.raises(InputError, match="source: "):
        read_value(path, "latents", "source")


def header(content: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def latents_file(fields: str = "{}", dtype: str = "F32", shape: list[int] | None = None, size: int = 1024) -> bytes:
    array = {"dtype": dtype, "shape": [8, 16, 2] if shape is None else shape, "data_offsets": [0, size]}
    return header({"__metadata__": {"kind": "latents", "fields": fields}, "array": array}, bytes(size))


def of_kind(kind: str, fields: str, **arrays: int) -> bytes:
    entries = {
        name: {"dtype": "U8" if kind == "file" else "F32", "shape": [1, size // 4], "data_offsets": [0, size]}
        for name, size in arrays.items()
    }
    return header({"__metadata__": {"kind": kind, "fields": fields}, **entries}, bytes(sum(arrays.values())))


HOSTILE = {
    "nested fields": latents_file("[" * 100_000),
    "closed nested fields": latents_file("[" * 100_000 + "]" * 100_000),
    "fields of a list": latents_file("[1]"),
    "unknown field": latents_file('{"zz": 1}'),
    "nested header": header(b'{"a":' * 100_000),
    "header of a list": header(b"[" + b"1," * 99 + b"1]"),
    "huge header": header({}, length=2**63),
    "longer header than the file": header({}, length=1000),
    "header of 20 MB": header(b'{"a": "' + b"x" * 20_000_000 + b'"}'),
    "metadata of a list": header(b'{"__metadata__": [1], "array": {}}'),
    **{f"type {dtype}": latents_file(dtype=dtype) for dtype in ("BF16", "F8_E4M3", "F8_E5M2", "C64", "F4", "XX", "")},
    "negative shape": latents_file(shape=[-8, -16, 2]),
    "overflowing shape": latents_file(shape=[2**62, 2**62]),
    "empty": latents_file(shape=[8, 16, 0], size=0),
    "shape of texts": header({"__metadata__": {"kind": "latents", "fields": "{}"},
                              "array": {"dtype": "F32", "shape": ["8"], "data_offsets": [0, "x"]}}),
    "tensor that is none": header({"__metadata__": {"kind": "latents", "fields": "{}"}, "array": 5}),
    "more than 2 GB": header({"__metadata__": {"kind": "latents", "fields": "{}"},
                              "array": {"dtype": "F32", "shape": [8, 16, 2**30], "data_offsets": [0, 2**39]}}),
    "file with a number as format": of_kind("file", '{"format": 5}', content=4),
    "span beyond floats": of_kind("span", '{"start": 0, "end": 1' + "0" * 400 + "}"),
    "span of words": of_kind("span", '{"start": "a", "end": "b"}'),
    "audio with a text as rate": of_kind("audio", '{"sample_rate": "x"}', samples=4),
    "audio with a broken rate": of_kind("audio", '{"sample_rate": 44100.5}', samples=4),
    "deep report": of_kind("report", '{"entries": {"a": ' + "[" * 9000 + "]" * 9000 + "}}"),
    "prompt of a list": of_kind("prompt", '{"text": ["x"]}', states=4, weak=4, mask=4),
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.safetensors"
    path.write_bytes(content)
    for kind in Value.kinds:
        with pytest.raises(InputError) as refused:
            read_value(path, kind, "source")
        assert len(str(refused.value)) < 600
        assert "\n" not in str(refused.value)
    assert form_of_music(path) == "latents"


def test_a_file_of_holes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "value.safetensors"
    size = 2**36
    array = {"dtype": "F32", "shape": [8, 16, size // 512], "data_offsets": [0, size]}
    content = header({"__metadata__": {"kind": "latents", "fields": "{}"}, "array": array})
    path.write_bytes(content)
    os.truncate(path, len(content) + size)
    with pytest.raises(InputError, match="one value has at most"):
        read_value(path, "latents", "source")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "value.safetensors"
    make(path)
    with pytest.raises(InputError, match="not a plain file"):
        read_value(path, "latents", "source")
    assert form_of_music(path) == "latents"
    assert form_of_music(path.with_suffix(".wav")) == "audio"


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "value.safetensors"
    whole = encode_value(latents())
    dice = random.Random(1)
    body = len(whole) - latents().array.nbytes
    for position in [*range(body), *(dice.randrange(body, len(whole)) for _ in range(200))]:
        changed = bytearray(whole)
        changed[position] ^= 1 << dice.randrange(7)
        path.write_bytes(changed)
        try:
            assert read_value(path, "latents", "source") == latents()  # only the digest's own name, or a blank
        except InputError:
            continue
        assert position < body


def test_a_file_without_a_digest_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "value.safetensors"
    save_file({"array": latents().array}, path, {"kind": "latents", "fields": "{}"})
    assert read_value(path, "latents", "source") == latents()


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "value.safetensors"
    dice = random.Random(2)
    whole = {"latents": encode_value(latents()), "noise": encode_value(Noise(latents().array, 7, latents().array, 8))}
    inserted = [b"[", b"{", b"0", b'"', b"-1", b"null", b"9" * 30, b"1e999", b"\xff", b"}"]
    for _ in range(2000):
        kind = dice.choice(list(whole))
        content = bytearray(whole[kind])
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(min(len(content), 400))
            match dice.randrange(3):
                case 0:
                    content[at] ^= 1 << dice.randrange(8)
                case 1:
                    del content[at : at + dice.randint(1, 9)]
                case _:
                    content[at:at] = dice.choice(inserted)
        path.write_bytes(content)
        form_of_music(path)
        with contextlib.suppress(InputError):
            read_value(path, kind, "source")


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_wrong_is_not_told_in_the_words_of_libraries(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.safetensors"
    path.write_bytes(content)
    for kind in Value.kinds:
        with pytest.raises(InputError) as refused:
            read_value(path, kind, "source")
        for word in ("Expecting", "column", "unpack", "Error", "NoneType", "subscript", "deserializ", "recursion"):
            assert word not in refused.value.what


def test_a_file_that_was_cut_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "value.safetensors"
    path.write_bytes(encode_value(latents())[:-100])
    with pytest.raises(InputError, match=r"value\.safetensors: damaged: it is no whole safetensors file \(allowed"):
        read_value(path, "latents", "source")
