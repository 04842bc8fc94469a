"""docs/bulk.md, as it is written; `tests/test_readme.py` runs the commands that README has as well."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.served.server import WEIGHTS, environment

ROOT = Path(__file__).parents[2]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "bulk.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a user would type: beside the examples."""
    for module in ("ray", "pyarrow", "filelock"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("bulk")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.fixture(scope="module")
def env(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """With a browser that writes down what it is to open."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / WEIGHTS).symlink_to(small_root)
    browser = cache / "browser"
    browser.write_text('#!/bin/sh\nprintf "%s" "$1" > opened\n')
    browser.chmod(0o755)
    return environment(cache) | {"BROWSER": str(browser)}


def screen() -> list[str]:
    """The commands under README's heading."""
    section = README.read_text().partition("## In bulk\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```console\n(.*?)```", section, flags=re.DOTALL)
    return [line.removeprefix("$ ") for line in block.strip().splitlines()]


def typed(lines: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = "set -e\n" + "\n".join(lines)
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=540
    )


def test_the_page_says_the_same_as_the_readme() -> None:
    section = PAGE.read_text().partition("## From a manifest to a data set\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    assert "".join(blocks[1:]).splitlines() == screen()
    assert blocks[0].removesuffix(" --dry-run\n") == screen()[2]


def test_the_price_of_the_job(folder: Path, env: dict[str, str]) -> None:
    done = typed([screen()[2] + " --dry-run"], folder, env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 songs\n")
    assert "music: 98" in done.stdout or "music: 2 min" in done.stdout
    assert not (folder / "bulk" / "audio").exists()
