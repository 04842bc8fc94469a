from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.bulk.gates import OPERATORS, Gate, judge, parse_gate
from acestep_flows.errors import InputError


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("silence_share<0.5", Gate("silence_share", "<", 0.5)),
        (" true_peak_db <= -0.1 ", Gate("true_peak_dbtp", "<=", -0.1)),
        ("loudness>=-20", Gate("loudness_lufs", ">=", -20.0)),
        ("key==C major", Gate("key", "==", "C major")),
        ("key!='A minor'", Gate("key", "!=", "A minor")),
        ("clipping_runs==0", Gate("clipping_runs", "==", 0.0)),
    ],
)
def test_gates_are_read(text: str, gate: Gate) -> None:
    assert parse_gate(text) == gate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "silence_share",
        "silence_share<",
        "<0.5",
        "silence_share=0.5",
        "silence_share<quiet",
        "tempo<nan",
        "tempo<inf",
    ],
)
def test_what_compares_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--require"):
        parse_gate(text)


def test_an_unknown_measurement_names_the_nearest() -> None:
    with pytest.raises(InputError, match="silence_share"):
        parse_gate("silence_shore<0.5")


def test_a_word_of_a_measurement_is_near_it() -> None:
    with pytest.raises(InputError, match="no measurement 'bpm', nearest 'tempo_bpm'; allowed: "):
        parse_gate("bpm>90")
    with pytest.raises(InputError, match="no measurement 'warm'; allowed: "):
        parse_gate("warm>90")


def test_judging_tells_which_gate_and_what_was_measured() -> None:
    gates = [parse_gate("silence_share<0.5"), parse_gate("true_peak_db<=-0.1")]
    assert judge(gates, {"silence_share": 0.1, "true_peak_dbtp": -3.0}) == []
    failed = judge(gates, {"silence_share": 0.75, "true_peak_dbtp": -3.0})
    assert failed == ["silence_share<0.5 (measured 0.75)"]


@pytest.mark.parametrize("found", [None, float("nan"), float("inf"), "loud"])
def test_what_could_not_be_measured_meets_no_gate(found: object) -> None:
    assert judge([Gate("loudness_lufs", "<", 0.0)], {"loudness_lufs": found})
    assert judge([Gate("loudness_lufs", "!=", 0.0)], {"loudness_lufs": found})
    assert judge([Gate("loudness_lufs", "<", 0.0)], {})


@given(st.sampled_from(sorted(OPERATORS)), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_gate_is_its_comparison_and_reads_back(op: str, bound: float, found: float) -> None:
    gate = parse_gate(f"silence_share{op}{bound!r}")
    assert gate.holds({"silence_share": found}) == OPERATORS[op](found, bound)
