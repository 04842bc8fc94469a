"""What a server writes to its terminal: text with times, or JSON on every line."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from acestep_flows.api.server.log_lines import FORMATS, LogFormat
from acestep_flows.cli.main import cli
from acestep_flows.errors import Unavailable

LOG = logging.getLogger("acestep_flows.api.execution.executor")
SECRET = "hunter2-of-the-database"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def a_server_that_has_troubles(options: Any, settings: Any, ready: Any, *, tell: Any, divert: Any) -> None:
    """In place of the real one: its lines, its log records, and what libraries print."""
    tell("weights: acestep-nano")
    tell("warning: little memory")
    with divert(Path("server.log")):
        ready("ready at http://127.0.0.1:1")
        LOG.warning("claim: postgresql://flows:%s@db/runs does not answer\n2026 error: made up", SECRET)
        LOG.info("claim: is back", extra={"work": "claim", "failures": 3, "seconds": 2.5})
        try:
            raise RuntimeError(f"password={SECRET}")
        except RuntimeError:
            LOG.exception("run %s failed", "run-1")
        print("a library speaks")  # noqa: T201
    tell("stopped")


@contextlib.contextmanager
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, serve: Any = a_server_that_has_troubles) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("acestep_flows.api.server.server.serve_forever", serve)
    handlers = logging.getLogger("acestep_flows").handlers[:]
    yield
    for handler in set(logging.getLogger("acestep_flows").handlers) - set(handlers):
        logging.getLogger("acestep_flows").removeHandler(handler)


def serve(*options: str) -> Result:
    return CliRunner().invoke(cli, ["serve", "--home", "home", *options])


def test_every_line_is_an_object(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(monkeypatch, tmp_path):
        result = serve("--log-format", "json")
    written = capfd.readouterr()  # while output is diverted, lines go to the descriptors themselves
    lines = [json.loads(line) for line in (result.stderr + written.err).splitlines()]
    (ready,) = [json.loads(line) for line in (result.stdout + written.out).splitlines()]
    assert ready["message"] == "ready at http://127.0.0.1:1"
    told = {line["message"]: line for line in lines}
    assert len(told) == 6
    assert told["weights: acestep-nano"]["level"] == "info"
    assert told["little memory"]["level"] == "warning"
    assert told["stopped"]["logger"] == "acestep_flows.serve"
    back = told["claim: is back"]
    assert (back["level"], back["work"], back["failures"], back["seconds"]) == ("info", "claim", 3, 2.5)
    assert "RuntimeError" in told["run run-1 failed"]["exception"]
    assert told["run run-1 failed"]["logger"] == LOG.name
    for line in (*lines, ready):
        assert re.fullmatch(TIME, line["time"])
        assert datetime.fromisoformat(line["time"])
    assert SECRET not in json.dumps(lines) + (tmp_path / "server.log").read_text()
    assert "a library speaks" in (tmp_path / "server.log").read_text()


def test_text_has_times_and_levels_and_tracebacks_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(monkeypatch, tmp_path):
        result = serve()
    written = capfd.readouterr()
    assert written.out == "ready at http://127.0.0.1:1\n"
    warning, back, failed = written.err.splitlines()
    assert re.fullmatch(rf"{TIME} warning: claim: .* error: made up", warning), "no line is made up"
    assert re.fullmatch(rf"{TIME} info: claim: is back", back)
    assert re.fullmatch(rf"{TIME} error: run run-1 failed", failed)
    assert result.stderr.splitlines() == ["weights: acestep-nano", "warning: little memory", "stopped"]
    file = (tmp_path / "server.log").read_text()
    assert "RuntimeError: password=***" in file
    assert SECRET not in written.err + file


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_at_the_start_has_the_form_too(form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*args: Any, **more: Any) -> None:
        raise Unavailable(f"postgresql://flows:{SECRET}@db/runs cannot be opened")

    with served(monkeypatch, tmp_path, fails):
        result = serve("--log-format", form)
    assert result.exit_code == 4
    assert SECRET not in result.stderr
    (line,) = result.stderr.splitlines()
    message = "postgresql://db/runs cannot be opened"
    assert line == f"error: {message}" if form == "text" else json.loads(line)["message"] == message


def test_the_lines_of_other_commands_are_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with served(monkeypatch, tmp_path):
        serve("--log-format", "json")
        result = CliRunner().invoke(cli, ["status", "--server", "http://127.0.0.1:1"])
    assert result.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("form", FORMATS)
def test_an_ingress_writes_the_same_to_its_stderr(form: LogFormat, tmp_path: Path) -> None:
    program = f"""
import logging
from acestep_flows.api.server.log_lines import log_to_stderr
for _ in range(2):
    log_to_stderr("{form}")
log = logging.getLogger("acestep_flows.api")
log.info("claim: is back")
try:
    raise RuntimeError("password={SECRET}")
except RuntimeError:
    log.exception("run %s failed", "run-1")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    if form == "json":
        assert [json.loads(line)["message"] for line in lines] == ["claim: is back", "run run-1 failed"]
    else:
        assert re.fullmatch(rf"{TIME} info: claim: is back", lines[0])
        assert lines[-1] == "RuntimeError: password=***"
    assert SECRET not in done.stderr
