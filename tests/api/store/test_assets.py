"""Assets: values by id, without paths in errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acestep_flows.api.store.assets import decoded_bytes
from acestep_flows.api.store.home import Home
from acestep_flows.errors import InputError, NotFound
from acestep_flows.value_file import encode_value
from acestep_flows.values import Latents
from tests.api.toys import opened

LATENTS = Latents(np.ones((8, 16, 3), np.float32))


def add(home: Home, content: bytes, kind: str, owner: str = "") -> str:
    blob = home.artifacts.put(content)
    return home.assets.add(blob, kind, content_type="t", file_name="f", owner=owner, details={"seconds": 1}).id


def test_a_value_is_read_back(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        id = add(home, encode_value(LATENTS), "latents", owner="a")
        assert home.assets.value(id, "latents", owner="a") == LATENTS
        record = home.assets.get(id)
        assert (record.kind, record.file_name, record.run, record.details) == ("latents", "f", None, {"seconds": 1})


def test_the_kind_of_an_asset_is_checked_without_its_file(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        id = add(home, b"no latents at all", "latents", owner="a")
        assert home.assets.of_kind(id, "latents", owner="a") == home.assets.get(id)
        with pytest.raises(InputError, match="reference: asset .* holds latents"):
            home.assets.of_kind(id, "audio", "reference", "a")
        with pytest.raises(NotFound):
            home.assets.of_kind(id, "latents", owner="b")


@pytest.mark.parametrize(
    ("kind", "details", "size"),
    [("audio", {"seconds": 2, "sample_rate": 8000, "channels": 1}, 64_000), ("audio", {"seconds": 2}, 768_000),
     ("audio", {}, 2400), ("latents", {"seconds": 2}, 100)],
)  # fmt: skip
def test_the_memory_of_a_value_is_estimated_without_reading_it(
    tmp_path: Path, kind: str, details: dict[str, float], size: int
) -> None:
    with opened(tmp_path) as home:
        blob = home.artifacts.put(bytes(100))
        record = home.assets.add(blob, kind, content_type="t", file_name="f", details=details)
        assert decoded_bytes(record) == size


def test_assets_of_others_do_not_exist(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        id = add(home, b"x", "latents", owner="a")
        for missing, owner in ((id, "b"), ("asset-1", None), ("\ud800", None), ("../x", None)):
            with pytest.raises(NotFound, match="no asset"):
                home.assets.get(missing, owner)


@pytest.mark.parametrize(
    ("content", "kind", "wanted_kind", "message"),
    [(b"x", "latents", "audio", "holds latents"), (b"x", "latents", "latents", "cannot be read as latents"),
     (b"nonsense", "audio", "audio", "not readable as audio"), (b"[1", "report", "report", "cannot be read")],
)  # fmt: skip
def test_an_unreadable_asset_is_refused_without_its_path(
    tmp_path: Path, content: bytes, kind: str, wanted_kind: str, message: str
) -> None:
    with opened(tmp_path) as home:
        with pytest.raises(InputError, match=message) as caught:
            home.assets.value(add(home, content, kind), wanted_kind, "source")
        assert str(caught.value).startswith("source") or "asset" in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_music_is_an_asset_of_either_kind(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        latents, report = add(home, encode_value(LATENTS), "latents"), add(home, b"[]", "report")
        assert home.assets.of_kind(latents, "music").kind == "latents"
        assert home.assets.value(latents, "music") == LATENTS
        with pytest.raises(InputError, match=r"source: asset .* holds report \(allowed: audio or latents\)"):
            home.assets.of_kind(report, "music", "source")
