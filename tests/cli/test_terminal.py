"""How commands end."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import click
import pytest
from click.testing import CliRunner

from acestep_flows import errors
from acestep_flows.cli.terminal import Commands, error_lines, exit_code, interruptible, quiet_libraries

PROBLEMS = [errors.Problem("rule", "first", "a.yaml", 3, 5, "take"), errors.Problem("rule", "second", "a.yaml")]


def ending(error: BaseException, *args: str) -> tuple[int, str, BaseException | None]:
    """Exit code, stderr and escaped exception of a command that fails with `error`."""

    @click.group(cls=Commands)
    @click.option("--traceback", is_flag=True)
    def cli(traceback: bool) -> None:
        pass

    @cli.command()
    @click.option("--count", type=int)
    def fail(count: int | None) -> None:
        raise error

    result = CliRunner().invoke(cli, list(args or ["fail"]))
    return result.exit_code, result.stderr, result.exception


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.InputError("0", where="duration", allowed="0.1 to 240 s"), 2, "duration: 0 (allowed: 0.1 to 240 s)"),
        (errors.NotFound("no graph 'x'"), 2, "no graph 'x'"),
        (errors.CheckpointError("truncated", where="model.safetensors"), 3, "model.safetensors: truncated"),
        (errors.StorageError("no space left"), 4, "no space left"),
        (errors.DownloadError("no connection"), 5, "no connection"),
        (errors.StageError("take", "sample", ValueError("odd")), 6, "node take (sample): ValueError: odd"),
        (errors.DeadlineExceeded("too late"), 7, "too late"),
        (errors.Cancelled("stopped"), 130, "stopped"),
        (errors.FlowsError("other"), 1, "other"),
        (errors.InputError("two\nlines \x1b[31m"), 2, "two lines  [31m"),
        (MemoryError(), 1, "out of memory"),
        (ZeroDivisionError("oops"), 70, "ZeroDivisionError: oops (a bug; acestep-flows --traceback shows where)"),
    ],
)
def test_an_error_is_one_line_and_a_code(error: Exception, code: int, text: str) -> None:
    assert ending(error)[:2] == (code, f"error: {text}\n")


def test_a_missing_package_is_named_with_the_way_to_get_it() -> None:
    code, text, _ = ending(ModuleNotFoundError("No module named 'fastapi.routing'", name="fastapi.routing"))
    assert code == 1
    assert text.startswith("error: this needs fastapi, which is not installed: ")
    assert "pip install -e '.[serve]'" in text


def test_a_module_of_our_own_that_is_missing_is_our_bug() -> None:
    code, text, _ = ending(ModuleNotFoundError("No module named 'acestep_flows.x'", name="acestep_flows.x"))
    assert (code, "(a bug; " in text) == (70, True)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "Permission denied", "/root/x"), "/root/x: Permission denied"),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), "a to b: Invalid cross-device link"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_what_the_operating_system_refuses_is_no_bug(error: OSError, text: str) -> None:
    assert ending(error)[:2] == (1, f"error: {text}\n")


def test_every_kind_of_error_has_a_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FlowsError)]
    assert len(kinds) > 8
    assert all(exit_code(kind.__new__(kind)) in {1, 2, 3, 4, 5, 6, 7, 130} for kind in kinds)


def test_a_graph_has_a_line_for_each_problem() -> None:
    error = errors.GraphError(PROBLEMS)
    assert error_lines(error) == "error: a.yaml:3:5: node take: first\nerror: a.yaml: second"
    assert ending(error)[0] == 2


def test_ctrl_c_is_one_line() -> None:
    assert ending(KeyboardInterrupt())[:2] == (130, "interrupted\n")


def test_a_wrong_option_is_one_line() -> None:
    code, text, _ = ending(ValueError(), "fail", "--count", "many")
    assert (code, text) == (2, "error: --count: 'many' (allowed: a whole number)\n")
    code, text, _ = ending(ValueError(), "--nonsense")
    assert (code, len(text.splitlines())) == (2, 1)
    code, text, _ = ending(ValueError(), "nonsense")
    assert (code, len(text.splitlines())) == (2, 1)


def test_developers_can_see_where() -> None:
    error = ZeroDivisionError("oops")
    assert ending(error, "--traceback", "fail")[2] is error


def test_our_warnings_are_shown_and_those_of_libraries_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    quiet_libraries()
    quiet_libraries()
    logging.getLogger("acestep_flows.graph.execution.cache").warning("entry %s is dropped", "x")
    assert capsys.readouterr().err == "warning: entry x is dropped\n"


def test_ctrl_c_lets_the_run_stop_at_its_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    asked = threading.Event()

    def work() -> None:
        asked.wait(60)
        time.sleep(0.01)
        raise errors.Cancelled("stopped after step 3 of 60")

    def wait() -> None:
        with interruptible(asked.set):
            main = threading.main_thread().ident
            threading.Timer(0.01, signal.pthread_kill, [main, signal.SIGINT]).start()  # wakes it from its wait
            run.result()

    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor() as pool:
        run = pool.submit(work)
        with pytest.raises(KeyboardInterrupt):
            wait()
    assert isinstance(run.exception(), errors.Cancelled)
    assert "stopping at the next step" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with interruptible(lambda: None):
        signal.raise_signal(signal.SIGINT)
        assert codes == []
        signal.raise_signal(signal.SIGINT)
    assert codes == [130]


def test_a_cancellation_from_elsewhere_stays_one() -> None:
    with pytest.raises(errors.Cancelled), interruptible(lambda: None):
        raise errors.Cancelled("the run was cancelled")
