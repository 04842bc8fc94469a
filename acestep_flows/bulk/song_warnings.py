"""What whoever uses a song of a data set should know of it, in words. It is read from the row of its result."""

from __future__ import annotations

from acestep_flows.bulk.results import ResultRow
from acestep_flows.outputs import silence_warning


def song_warnings(row: ResultRow) -> list[str]:
    """The warnings of a row that has a song; empty where there are none.

    They are: peaks that were turned down to play within full scale, or else clipped samples; silence; and a song that
    is a sample or more shorter than asked. Rows of 0.1.0 have them too, except for the peaks and the length asked.
    """
    warnings = [row.warnings] if row.warnings else []
    measured = row.measurements or {}
    runs, samples = measured.get("clipping_runs") or 0, measured.get("clipped_samples") or 0
    if runs and not row.warnings:  # peaks that were turned down are measured as they were before
        warnings.append(f"clipped: {samples} samples at full scale, in {runs} {'run' if runs == 1 else 'runs'}")
    if "rms_dbfs" in measured and (silence := silence_warning(measured["rms_dbfs"])):
        warnings.append(silence)
    made, asked, rate = row.duration, row.duration_asked, row.sample_rate
    if made is not None and asked is not None and rate and (asked - made) * rate >= 1:
        warnings.append(f"{made:.2f} s of the {asked:g} s asked")
    return warnings
