"""Each check on a machine where all is well, and where something is not."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.audio import write
from acestep_flows.audio.formats import FORMATS
from acestep_flows.cli import doctor
from acestep_flows.errors import CheckpointError, StorageError
from acestep_flows.model import kept_choice
from acestep_flows.model.fastest_products import ProductRates
from acestep_flows.settings import Settings
from acestep_flows.weights.choose import Weights, choose_weights


def weights(folder: Path | None, cache: Path) -> Weights:
    return choose_weights(Settings(cache), str(folder) if folder else "embedded")


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A folder in which nothing can be made, for root as well."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


def test_every_check_speaks_once_and_a_failure_says_what_to_do(tmp_path: Path) -> None:
    findings = list(doctor.examine(Settings(tmp_path), weights(None, tmp_path)))
    names = [finding.check for finding in findings]
    assert names == [
        *("python", "packages", "serve", "bulk", "postgres", "s3", "tracing", "tracking"),
        *("torch", "device", "products", "memory", "cache"),
        *(f"audio {name}" for name in FORMATS),
        *("picture", "lyrics", "graphs", "checkpoint"),
    ]
    assert not [finding for finding in findings if finding.verdict == "failure"]
    assert all(finding.advice for finding in findings if finding.verdict != "ok")
    assert all("\n" not in finding.message for finding in findings)


def test_every_check_is_told_before_it_begins(tmp_path: Path) -> None:
    told: list[str] = []
    findings = doctor.examine(Settings(tmp_path), weights(None, tmp_path), begins=told.append)
    assert next(findings).check == "python"
    assert told == ["python"]
    list(findings)
    assert told[1:4] == ["packages", "extras", "torch"]


def test_extras_are_listed_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {finding.verdict for finding in doctor.extras()} == {"ok"}
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    found = {finding.check: finding for finding in doctor.extras()}
    assert {name: finding.verdict for name, finding in found.items()} == {
        "serve": "missing",
        "bulk": "missing",
        "postgres": "ok",
        "s3": "ok",
        "tracing": "ok",
        "tracking": "missing",
    }
    assert "pip install -e '.[serve]'" in found["serve"].advice
    assert "acestep-flows bulk" in found["bulk"].message


def test_the_end_says_what_to_do_next() -> None:
    well, missing = doctor.Finding("a", "ok", "b"), doctor.Finding("c", "missing", "d", "e")
    ill = doctor.Finding("f", "failure", "g", "h")
    assert doctor.conclusion([well, missing]).startswith("this machine is ready; a first song: acestep-flows run text2")
    assert doctor.conclusion([well, ill]).startswith("one thing fails: do what the arrows say")
    assert doctor.conclusion([ill, ill]).startswith("2 things fail")


def test_no_model_is_loaded_and_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("acestep_flows.model.checkpoint.Checkpoint.load", refuse)
    list(doctor.examine(Settings(tmp_path), weights(None, tmp_path)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("version", "verdict"),
    [((3, 10, 14), "failure"), ((3, 11, 0), "ok"), ((3, 13, 9), "ok"), ((3, 14, 0), "failure")],
)
def test_python(version: tuple[int, ...], verdict: str) -> None:
    assert doctor.python_version(version).verdict == verdict


def test_packages_that_are_missing_or_out_of_range_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "no-such-thing-here", "pytest>=1", 'other; python_version < "3"', 'more; extra == "serve"']
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    finding = doctor.packages()
    assert finding.verdict == "failure"
    assert "numpy is" in finding.message
    assert "no-such-thing-here is missing" in finding.message
    assert "other" not in finding.message
    assert "more" not in finding.message


def test_a_package_that_is_not_installed_is_a_warning() -> None:
    assert doctor.packages("no-such-thing-here").verdict == "warning"


@pytest.mark.parametrize("check", [doctor.torch_computes, doctor.device, lambda: doctor.products(Settings(Path()))])
def test_a_torch_that_does_not_import(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert check().verdict == "failure"


def test_it_tells_who_multiplies_and_how_fast_both_ways_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = ProductRates(104e9, 236e9)
    monkeypatch.setattr(kept_choice, "_choices", kept_choice._Choices())  # not the suite's
    monkeypatch.setattr("acestep_flows.model.fastest_products.product_rates", lambda dtype: rates)
    monkeypatch.setattr("acestep_flows.model.placement.has_fast_bfloat16", lambda device: False)
    told = "on the processor float32 by {} (Gflop/s a core: torch 104, oneDNN with packed weights 236)"
    assert doctor.products(Settings(tmp_path)).message == told.format("onednn")
    pinned = doctor.products(Settings(tmp_path, products="torch"))
    assert pinned.message == told.format("torch") + "; as ACESTEP_FLOWS_PRODUCTS says"
    monkeypatch.setattr("acestep_flows.model.fastest_products.packed_or_none", lambda weight, bias: None)
    refused = doctor.products(Settings(tmp_path, products="onednn"))
    assert (refused.verdict, refused.advice) == ("failure", "unset ACESTEP_FLOWS_PRODUCTS")


@pytest.mark.parametrize(("free", "verdict"), [(0.5e6, "failure"), (1.5e6, "warning"), (2.5e6, "ok")])
def test_memory_is_held_against_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, verdict: str
) -> None:
    import psutil

    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "model.safetensors").write_bytes(bytes(1_000_000))
    now = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: now._replace(available=int(free)))
    assert doctor.memory(weights(tmp_path, tmp_path)).verdict == verdict
    assert doctor.memory(weights(None, tmp_path)).verdict == "ok"


def test_a_cache_folder_that_cannot_be_written(read_only: Path) -> None:
    finding = doctor.cache_folder(read_only)
    assert (finding.verdict, "ACESTEP_FLOWS_CACHE" in finding.advice) == ("failure", True)


def test_a_cache_folder_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert doctor.cache_folder(tmp_path).verdict == "warning"


def test_a_format_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise StorageError("no encoder")

    monkeypatch.setattr(write, "audio", fail)
    finding = doctor.audio_format("mp3")
    assert (finding.verdict, finding.message) == ("failure", "no encoder")


def test_a_format_that_comes_back_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = write.audio
    monkeypatch.setattr(write, "audio", lambda path, sound, **rest: real(path, sound, **rest, sample_rate=24_000))
    assert "24000 Hz" in doctor.audio_format("wav").message


def test_a_format_that_loses_tags_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    real = write.audio
    monkeypatch.setattr(write, "audio", lambda path, sound, tags: real(path, sound))
    assert doctor.audio_format("flac").verdict == "warning"


def test_a_checkpoint_that_is_damaged_is_named(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    finding = doctor.checkpoint(weights(tmp_path, tmp_path))
    assert (finding.verdict, "fetch" in finding.advice) == ("failure", True)
    assert str(tmp_path) in finding.message


def test_a_whole_checkpoint_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Whole:
        lyric_vocab = tmp_path / "vocab.json"

    monkeypatch.setattr(Weights, "open", lambda self: Whole())
    assert doctor.checkpoint(weights(tmp_path, tmp_path)).verdict == "ok"


def test_a_checkpoint_without_its_vocabulary_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        @property
        def lyric_vocab(self) -> Path:
            raise CheckpointError("no lyric vocabulary")

    monkeypatch.setattr(Weights, "open", lambda self: Half())
    assert doctor.checkpoint(weights(tmp_path, tmp_path)).message == "no lyric vocabulary"


def test_broken_graphs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.graph.library.shipped", lambda: tmp_path)
    assert doctor.graphs().verdict == "failure"
    (tmp_path / "odd.yaml").write_text("graph: odd\n")
    finding = doctor.graphs()
    assert finding.verdict == "failure"
    assert "odd.yaml" in finding.message
