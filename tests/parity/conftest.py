"""The parity harness.

A parity module names its golden file, `GOLDEN = "guidance.safetensors"`; a test in it that takes `case` then runs
over every case of that file, and must settle every output of it (`case.assert_close`, `assert_equal`, `leave_out`).
A case that the module does not recognise must end in `case.unknown()`.

Every test runs over the small reference, which is part of the repository, and over the full one where it lies
(`--reference DIR`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.parity.reference import SMALL, Case, Reference


def references(config: pytest.Config) -> dict[str, Reference]:
    """The references that are there, by name."""
    both = {"small": opened(SMALL), "full": opened(config.getoption("--reference").resolve())}
    return {name: reference for name, reference in both.items() if reference.exists}


@cache
def opened(root: Path) -> Reference:
    """One object for each folder, which reads its index once."""
    return Reference(root)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "parity" in item.path.parent.parts:
            item.add_marker(pytest.mark.parity)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    available = references(metafunc.config)
    if "case" in metafunc.fixturenames:
        pairs = [
            pytest.param(reference, case, id=f"{name}-{case.name}")
            for name, reference in available.items()
            for case in reference.cases(metafunc.module.GOLDEN)
        ]
        metafunc.parametrize(("reference", "case"), pairs, indirect=True, scope="session")
    elif "reference" in metafunc.fixturenames:
        metafunc.parametrize("reference", available.values(), ids=available.keys(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def full_reference(request: pytest.FixtureRequest) -> Reference:
    """The full reference; a test that needs it is skipped where it is not there."""
    reference = references(request.config).get("full")
    if reference is None:
        pytest.skip(f"no reference at {request.config.getoption('--reference')}; give --reference DIR")
    return reference


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest) -> Reference:
    reference: Reference = request.param
    return reference


@pytest.fixture
def case(request: pytest.FixtureRequest, reference: Reference) -> Iterator[Case]:
    """A case of `reference`."""
    case: Case = request.param
    case.settled.clear()
    yield case
    outcome = getattr(request.node, "outcome", None)
    if outcome == "passed":
        missed = set(case.outputs) - case.settled
        assert not missed, f"{case}: outputs never compared: {sorted(missed)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call":
        item.outcome = report.outcome  # type: ignore[attr-defined]
    return report
