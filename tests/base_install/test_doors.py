"""Every door without the extras: it works, or says at once in one line what is missing and how to get it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acestep_flows import optional_packages
from acestep_flows.cli.bulk_command import BulkCommand
from acestep_flows.cli.command_log import CommandLog
from acestep_flows.errors import MissingPackage
from acestep_flows.optional_packages import EXTRAS, how_to_install, missing_package, require
from tests.base_install.without_extras import Missing, required

ROOT = Path(__file__).parents[2]
ROWS = "examples/bulk-20.jsonl"


def run(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process without the extras."""
    command = [sys.executable, "-m", "tests.base_install.without_extras", *arguments]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    env = {"ACESTEP_FLOWS_CACHE": str(cache), "PATH": path, "HOME": str(cache)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)


NEED_EXTRAS: dict[str, tuple[str, list[str]]] = {
    "serve": ("serve", ["serve", "--home", "OUT/home"]),
    "key": ("serve", ["key", "alice", "--file", "OUT/keys.json"]),
    "bulk": ("bulk", ["bulk", ROWS, "--graph", "text2music", "--out", "OUT/bulk"]),
    "bulk dry": ("bulk", ["bulk", ROWS, "--graph", "text2music", "--out", "OUT/bulk", "--dry-run"]),
    "bulk via": ("bulk", ["bulk", ROWS, "--graph", "text2music", "--out", "OUT/bulk", "--via", "http://127.0.0.1:1"]),
    "train in two": ("bulk", ["train", "lora", "ace-step-lora", "--out", "OUT/run", "--workers", "2"]),
    "train tracked": (
        "tracking",
        ["train", "autoencoder", "nano-autoencoder", "--out", "OUT/run", "--set", "loop.mlflow=sqlite:///x"],
    ),
    "encode in two": ("bulk", ["encode", "ace-step-encode", "--out", "OUT/songs", "--workers", "2"]),
    "encode parquet": (
        "bulk",
        ["encode", "ace-step-encode", "--out", "OUT/songs"]
        + [f"--set=source.{one}" for one in ("kind=parquet", "path=OUT.parquet")],
    ),
}
"""Commands that need an extra, and which one. `OUT` is a place that must stay empty, `OUT.parquet` a file."""


def placed(arguments: list[str], out: Path) -> list[str]:
    out.with_suffix(".parquet").write_bytes(b"PAR1")
    return [argument.replace("OUT", str(out)) for argument in arguments]


def refused(extra: str, code: int, stderr: str, out: Path) -> None:
    """Whether a command that ended so has said in one line what is missing, and written nothing."""
    assert code == 1, stderr
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    assert f"not installed: pip install -e '.[{extra}]' in {ROOT}" in line
    assert "a bug" not in line
    assert not out.exists(), "something was written before"


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, Path]]:
    """How each command of `NEED_EXTRAS` ended, one after the other in one process, and its place."""
    folder = tmp_path_factory.mktemp("extras")
    places = {name: folder / name.replace(" ", "-") for name in NEED_EXTRAS}
    commands = [placed(arguments, places[name]) for name, (_, arguments) in NEED_EXTRAS.items()]
    done = run("--each", json.dumps(commands), cache=folder)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (code, stderr, places[name]) for name, (code, stderr) in zip(NEED_EXTRAS, told, strict=True)}


@pytest.mark.parametrize("name", NEED_EXTRAS)
def test_a_door_that_needs_an_extra_says_how_to_get_it(name: str, ends: dict[str, tuple[int, str, Path]]) -> None:
    refused(NEED_EXTRAS[name][0], *ends[name])


def test_a_process_of_its_own_says_so_too(tmp_path: Path) -> None:
    extra, arguments = NEED_EXTRAS["serve"]
    done = run(*placed(arguments, tmp_path / "out"), cache=tmp_path)
    refused(extra, done.returncode, done.stderr, tmp_path / "out")


def test_the_doors_of_the_package_itself_need_no_extra(tmp_path: Path) -> None:
    song = ["--set", "tags=pop", "--set", "duration=1", "--set", "steps=2", "--set", "seed=7"]
    out = ["--out", str(tmp_path), "--name", "song"]
    works = (
        ["run", "text2music", *song, *out],
        ["replay", str(tmp_path / "song.wav")],
        ["graph", "show", "text2music", "--png", str(tmp_path / "graph.png")],
        ["graph", "plan", "text2music", *song],
        ["stages"],
        ["graphs"],
    )
    nobody = ["--server", "http://127.0.0.1:1"]
    asks = (["status", *nobody], ["submit", "text2music", *song, *nobody])
    done = run("--each", json.dumps([*works, *asks]), cache=tmp_path)
    assert done.returncode == 0, done.stderr
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert [code for code, _ in ends] == [*(0 for _ in works), *(5 for _ in asks)], ends
    assert all("does not answer" in stderr for _, stderr in ends[len(works) :])


def test_sessions_clients_and_training_need_no_extra(tmp_path: Path) -> None:
    source = ("source.clips=1", "source.held_out=1", "source.seconds=3")
    short = ("loop.steps=1", "loop.warmup=0", "crops=[32]", "frames_per_batch=64")
    settings = [f"--set={change}" for change in (*source, *short)]
    train = ["train", "autoencoder", "nano-autoencoder", "--out", str(tmp_path / "run"), *settings]
    program = (
        "from acestep_flows import AsyncClient, Client, Session\n"
        "with Session() as session:\n"
        "    assert session.run('text2music', tags='pop', duration=1, steps=2).audio.seconds > 0.5\n"
        "import acestep_flows.cli.nano, acestep_flows.training.nano.pipeline\n"
        "import acestep_flows.training.adapters.merge, acestep_flows.training.kinds.lora\n"
        "from acestep_flows.cli.main import cli\n"
        f"cli({train!r})\n"
    )
    done = run("-c", program, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "export").is_dir()


def test_the_table_names_what_the_extras_install() -> None:
    """Every module of an extra is missing without it, and installed with it."""
    for extra in EXTRAS:
        assert set(extra.modules) <= Missing(required()).modules, extra.name
        assert not set(extra.modules) & Missing(required([extra.name])).modules, extra.name
        assert not extra.missing


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingPackage, match=r"^--tracking needs mlflow, which is not installed: .*'\.\[tracking\]'"):
        require("tracking", "--tracking")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    require("bulk", "something without tables", ["ray"])
    with pytest.raises(MissingPackage, match="needs pyarrow, which is not"):
        require("bulk", "bulk")
    assert "'.[postgres]'" in str(missing_package("psycopg.rows"))
    assert "needs scipy, which is not installed: " in str(missing_package("scipy.signal"))
    assert "install -e '.' in" in str(missing_package("scipy.signal"))


def test_an_installed_wheel_names_no_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(optional_packages, "ROOT", tmp_path)
    assert how_to_install("serve").endswith("pip install 'FILE.whl[serve]' with the wheel of this package")


def test_the_pip_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an environment that is not activated, the pip on the path is another one."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "pip").write_text("")
    monkeypatch.setattr(optional_packages, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    assert how_to_install("bulk") == f".venv/bin/pip install -e '.[bulk]' in {tmp_path}"


def test_a_job_without_mlflow_is_not_tracked_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def choice(tracking: str | None, quiet: bool = False) -> str | None:
        options: Any = SimpleNamespace(tracking=tracking, quiet=quiet, log=CommandLog("bulk"))
        return BulkCommand._tracking(options)

    assert choice(None) is None
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert (choice(None, quiet=True), choice("off")) == ("off", "off")
    assert capsys.readouterr().err == ""
    assert choice(None) == "off"
    assert "not tracked, as MLflow is not installed: " in capsys.readouterr().err
