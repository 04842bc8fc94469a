"""README's commands, as they stand and in their order, in a fresh clone with nothing but `make demo` behind it.

Left out is only what cannot be run here: `make test`, which runs this, and what needs the published weights. The server
takes a free port in place of 8777. `.venv` is the environment of these tests, so that nothing is installed anew; that
`make demo` installs enough is what `tests/base_install` is for.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LEFT_OUT = ("make test", "acestep-flows fetch ", 'acestep-flows run text2music --set tags="city pop')
"""Beginnings of commands that are not run; each must be there, so that none is left out by mistake."""
SERVE = "acestep-flows serve --home server"


def blocks() -> list[list[str]]:
    """The commands of every block of README, without prompts; one that goes on over several lines is one command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [re.split(r"\n\$ ", "\n" + block)[1:] for block in BLOCK.findall(text)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files under version control, as they are now, and an environment that counts as made by `make demo`."""
    for module in ("ray", "fastapi", "sqlalchemy", "pyarrow"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("clone") / "acestep_flows"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    environment = Path(sys.executable).parents[1]
    for part in ("bin", "lib", "pyvenv.cfg"):
        if (environment / part).exists():
            (folder / ".venv" / part).symlink_to(environment / part)
    for stamp in (".made", ".run"):
        (folder / ".venv" / stamp).touch()
    return folder


@pytest.fixture(scope="module")
def env(clone: Path) -> dict[str, str]:
    """The environment of a user who has no settings, with a browser that writes down what it is to open."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACESTEP_", "RAY_", "MAKE"))}
    browser = clone.parent / "browser"
    browser.write_text('#!/bin/sh\nprintf "%s" "$1" > opened\n')
    browser.chmod(0o755)
    path = f"{clone / '.venv' / 'bin'}{os.pathsep}{inherited.get('PATH', '')}"
    own = {"ACESTEP_FLOWS_CACHE": str(clone.parent / "cache"), "BROWSER": str(browser)}
    # The environment belongs to whoever runs the tests: make takes it as it is, and pip could install nothing into it.
    own |= {"MAKEFLAGS": "--old-file=.venv/.run --old-file=.venv/.made", "PIP_DRY_RUN": "1"}
    return inherited | own | {"PATH": path, "PYTHONPATH": str(clone)}


@contextmanager
def served(clone: Path, env: dict[str, str]) -> Iterator[str]:
    """The address of README's server while it runs."""
    with (clone / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*SERVE.split(), "--port", "0"], cwd=clone, env=env, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            ready = next((found for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line))), None)
            assert ready is not None, (clone / "server.log").read_text()
            yield ready[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
            assert process.stdout is not None
            process.stdout.close()


def typed(command: str, clone: Path, env: dict[str, str]) -> str:
    """What a block of commands prints."""
    done = subprocess.run(
        ["bash", "-c", f"set -e\n{command}"], cwd=clone, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "a bug" not in done.stderr
    return done.stdout


def test_nothing_is_left_out_by_mistake() -> None:
    commands = [command for block in blocks() for command in block]
    assert commands[0].startswith("make demo")
    assert len(commands) > 15
    assert all(any(command.startswith(left_out) for command in commands) for left_out in LEFT_OUT)
    assert commands.count(f"{SERVE}\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif("README_COMMANDS" not in os.environ, reason="takes minutes; README_COMMANDS=1 runs it")
def test_every_command_runs_in_its_order(clone: Path, env: dict[str, str]) -> None:
    pending = [[command for command in block if not command.startswith(LEFT_OUT)] for block in blocks()]
    serving = next(number for number, block in enumerate(pending) if f"{SERVE}\n" in block)
    for number, block in enumerate(pending):
        if number == serving:
            assert len(block) == 1
            with served(clone, env) as address:
                typed("\n".join(pending[serving + 1]), clone, env | {"ACESTEP_FLOWS_SERVER": address})
        elif number != serving + 1:
            typed("\n".join(block), clone, env)
    written = {path.relative_to(clone).as_posix() for path in clone.rglob("*.*") if path.suffix in (".wav", ".flac")}
    assert {"outputs/song.wav", "outputs/repainted.wav", "outputs/chain.wav"} <= written
    assert len([name for name in written if name.startswith("songs/")]) == 2
    assert len([name for name in written if name.startswith("bulk/audio/")]) == 20
    assert (clone / "opened").read_text().endswith("/bulk/report.html")
