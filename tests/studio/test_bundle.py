"""The built page: the sources give it byte for byte, and it stays small."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "studio"
BUILT = ROOT / "acestep_flows" / "studio" / "static"
MOST_BYTES, MOST_BYTES_ZIPPED, MOST_LINES = 180_000, 60_000, 250


@pytest.fixture
def node() -> str:
    node = shutil.which("node")
    if node is None or not (SOURCES / "node_modules").is_dir():
        pytest.skip("the page's tools are not here: run `npm ci` in studio/")
    return node


def test_the_sources_build_the_committed_page(node: str, tmp_path: Path) -> None:
    subprocess.run([node, "build.mjs", str(tmp_path)], cwd=SOURCES, check=True)
    built = {path.relative_to(BUILT): path.read_bytes() for path in BUILT.rglob("*") if path.is_file()}
    again = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert again.keys() == built.keys()
    assert [path for path in built if again[path] != built[path]] == [], "run `make studio` and commit what it builds"


def test_the_types_are_right(node: str) -> None:
    tsc = SOURCES / "node_modules" / ".bin" / "tsc"
    done = subprocess.run([str(tsc), "--noEmit"], cwd=SOURCES, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_the_page_is_small() -> None:
    script = (BUILT / "app.js").read_bytes()
    assert len(script) <= MOST_BYTES
    assert len(gzip.compress(script)) <= MOST_BYTES_ZIPPED


def test_every_source_fits_on_few_screens() -> None:
    sources = [path for end in ("js", "css") for path in (SOURCES / "src").rglob(f"*.{end}")]
    long = {path.name: lines for path in sources if (lines := len(path.read_text().splitlines())) > MOST_LINES}
    assert len(sources) > 10
    assert long == {}
