"""The measurement of a GPU runs on a processor, with small networks, and asks for few packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import runpy, sys
sys.modules.update(dict.fromkeys({refused!r}))  # importing one of them fails
sys.argv = ["benchmarks.gpu", *{arguments!r}]
runpy.run_module("benchmarks.gpu", run_name="__main__")
"""
REFUSED = {
    "click", "fastapi", "httpx", "matplotlib", "mlflow", "pyarrow", "ray", "soundfile", "sqlalchemy", "starlette",
    "transformers", "uvicorn",
}  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = RUN.format(refused=REFUSED, arguments=arguments)
    root = Path(__file__).resolve().parents[2]
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=root)


def test_everything_is_measured_in_small(tmp_path: Path) -> None:
    done = run("--device", "cpu", "--tiny", "--json", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert results["machine"]["device"] == "cpu"
    assert {(row["rows"], row["song_seconds"]) for row in results["passes"]} == {(1, 1), (2, 1), (1, 2), (2, 2)}
    assert all(row["milliseconds"] > 0 and row["share_of_matmul"] > 0 for row in results["passes"])
    assert len(set(results["kernels_of_a_pass"].values())) == 1
    assert results["errors_against_float32"]["float32"] < 1e-5 < results["errors_against_float32"]["bfloat16"] < 0.05
    assert 0.01 < results["errors_against_float32"]["fp8"] < 0.2
    assert all(song["real_time_factor"] > 0 for song in results["songs"])
    assert [load["songs"] for load in results["loads"]] == [1, 3]
    assert results["published_factors"]["A100"] == [27.27, 12.27]


def test_without_a_gpu_it_says_what_to_do() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = run()
    assert done.returncode == 2
    assert "torch finds no GPU here; --device cpu --tiny tries it out on a processor" in done.stderr
