"""What a server writes to its terminal: text with times, or JSON on every line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from acestep_flows.wording.log_lines import FORMATS, LogFormat

SECRET = "hunter2-of-the-database"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

SERVER = f"""
import logging, os, sys
from pathlib import Path
from acestep_flows.api.server import server
from acestep_flows.errors import Unavailable

def with_troubles(options, settings, ready, *, tell, divert):
    log = logging.getLogger("acestep_flows.api.execution.executor")
    tell("weights: acestep-nano")
    tell("warning: little memory")
    with divert(Path("server.log")):
        ready("ready at http://127.0.0.1:1", "http://127.0.0.1:1")
        log.warning("claim: postgresql://flows:%s@db/runs does not answer\\n2026 error: made up", "{SECRET}")
        log.info("claim: is back", extra={{"work": "claim", "failures": 3, "seconds": 2.5}})
        try:
            raise RuntimeError("password={SECRET}")
        except RuntimeError:
            log.exception("run %s failed", "run-1")
        os.write(1, b"a library speaks\\n")
    tell("stopped")

def without_a_start(options, settings, ready, *, tell, divert):
    raise Unavailable("postgresql://flows:{SECRET}@db/runs cannot be opened")

server.serve_forever = globals()[sys.argv.pop(1)]
from acestep_flows.cli.main import main
main()
"""


def serve(server: str, folder: Path, form: LogFormat) -> subprocess.CompletedProcess[str]:
    """The command with another server in place of the real one."""
    command = [sys.executable, "-c", SERVER, server, "serve", "--home", "home", "--log-format", form]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_line_is_an_object(tmp_path: Path) -> None:
    done = serve("with_troubles", tmp_path, "json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (ready,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert ready["message"] == "ready at http://127.0.0.1:1"
    assert ready["url"] == "http://127.0.0.1:1"
    told = {line["message"]: line for line in lines}
    assert len(told) == len(lines) == 7
    assert lines[0]["message"] == "starting"
    assert told["weights: acestep-nano"]["level"] == "info"
    assert told["little memory"]["level"] == "warning"
    assert told["stopped"]["logger"] == "acestep_flows.serve"
    back = told["claim: is back"]
    assert (back["level"], back["work"], back["failures"], back["seconds"]) == ("info", "claim", 3, 2.5)
    assert "RuntimeError" in told["run run-1 failed"]["exception"]
    assert told["run run-1 failed"]["logger"] == "acestep_flows.api.execution.executor"
    for line in (*lines, ready):
        assert re.fullmatch(TIME, line["time"])
        datetime.fromisoformat(line["time"])
    assert SECRET not in done.stderr + (tmp_path / "server.log").read_text()
    assert "a library speaks" in (tmp_path / "server.log").read_text()


def test_text_has_times_and_levels_and_tracebacks_in_the_file(tmp_path: Path) -> None:
    done = serve("with_troubles", tmp_path, "text")
    assert done.stdout == "ready at http://127.0.0.1:1\n"
    *first, warning, back, failed, last = done.stderr.splitlines()
    assert (first, last) == (["starting", "weights: acestep-nano", "warning: little memory"], "stopped")
    assert re.fullmatch(rf"{TIME} warning: claim: .* error: made up", warning), "no line is made up"
    assert re.fullmatch(rf"{TIME} info: claim: is back", back)
    assert re.fullmatch(rf"{TIME} error: run run-1 failed", failed)
    file = (tmp_path / "server.log").read_text()
    assert "RuntimeError: password=***" in file
    assert SECRET not in done.stderr + file


@pytest.mark.parametrize("form", FORMATS)
def test_an_error_at_the_start_has_the_form_too(form: LogFormat, tmp_path: Path) -> None:
    done = serve("without_a_start", tmp_path, form)
    assert done.returncode == 4
    assert SECRET not in done.stderr
    _, line = done.stderr.splitlines()
    message = "postgresql://db/runs cannot be opened"
    assert line == f"error: {message}" if form == "text" else json.loads(line)["message"] == message


INGRESS = f"""
import logging, sys
from acestep_flows.wording.log_lines import log_to_stderr

for _ in range(2):
    log_to_stderr(sys.argv[1])
log = logging.getLogger("acestep_flows.api")
log.info("claim: is back")
try:
    raise RuntimeError("password={SECRET}")
except RuntimeError:
    log.exception("run %s failed", "run-1")
"""


@pytest.mark.parametrize("form", FORMATS)
def test_an_ingress_writes_the_same_to_its_stderr(form: LogFormat) -> None:
    done = subprocess.run([sys.executable, "-c", INGRESS, form], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    if form == "json":
        assert [json.loads(line)["message"] for line in lines] == ["claim: is back", "run run-1 failed"]
    else:
        assert re.fullmatch(rf"{TIME} info: claim: is back", lines[0])
        assert lines[-1] == "RuntimeError: password=***"
    assert SECRET not in done.stderr
