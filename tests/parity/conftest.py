"""The parity harness.

A parity module names its golden file, `GOLDEN = "guidance.safetensors"`; a test in it that takes `case` then runs
over every case of that file, and must settle every output of it (`case.assert_close`, `assert_equal`, `leave_out`).
A case that the module does not recognise must end in `case.unknown()`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parity.reference import Case, Reference


def _reference(config: pytest.Config) -> Reference:
    return Reference(config.getoption("--reference"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reference = _reference(config)
    for item in items:
        if "parity" in item.path.parent.parts:
            item.add_marker(pytest.mark.parity)
            if not reference.exists:
                item.add_marker(pytest.mark.skip(reason=f"no reference at {reference.root}; give --reference DIR"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    reference = _reference(metafunc.config)
    cases = reference.cases(metafunc.module.GOLDEN) if reference.exists else []
    metafunc.parametrize("case", cases, ids=[case.name for case in cases], indirect=True)


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest) -> Reference:
    return _reference(request.config)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
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
