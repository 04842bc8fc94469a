"""Nothing recorded goes unchecked: every golden file belongs to a parity module, every case must be recognised."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from tests.parity.reference import Case, GoldenTensors, Reference


def claimed_files() -> set[str]:
    """The `GOLDEN = "..."` of every module in this folder, read without importing it."""
    return {
        str(ast.literal_eval(statement.value))
        for module in Path(__file__).parent.glob("test_*.py")
        for statement in ast.parse(module.read_text("utf-8")).body
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == ["GOLDEN"]
    }


def test_every_golden_file_is_claimed(reference: Reference) -> None:
    unclaimed = reference.files - claimed_files()
    assert not unclaimed, f"no parity module has GOLDEN = one of {sorted(unclaimed)}"


@pytest.fixture
def unknown_case(reference: Reference) -> Case:
    nothing = GoldenTensors(Path("none.safetensors"), {})
    return Case("new", "new.safetensors", {"dance": 1}, nothing, nothing, 1e-5, 1e-5, "")


def test_unknown_kind_fails(unknown_case: Case) -> None:
    with pytest.raises(pytest.fail.Exception, match="unknown kind"):
        unknown_case.unknown()


def test_comparison_can_fail(reference: Reference) -> None:
    case = next(case for file in sorted(reference.files) for case in reference.cases(file) if case.outputs)
    name = next(iter(case.outputs))
    want = case.outputs[name].float()
    case.assert_close(name, want)
    for wrong in (want + 1.0, torch.full_like(want, torch.nan)):
        with pytest.raises(pytest.fail.Exception, match="off by"):
            case.assert_close(name, wrong)
