"""Values in files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.value_file import encode_value, read_value
from acestep_flows.values import Latents, Mel, Noise, Value


def latents() -> Latents:
    return Latents(np.random.default_rng(1).standard_normal((8, 16, 5)).astype(np.float32))


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
