"""What whoever uses a song of a data set should know of it, in words. It is read from the row of its result."""

from __future__ import annotations

from acestep_flows.bulk.results import ResultRow
from acestep_flows.outputs import silence_warning
from acestep_flows.values import frames_from_seconds, seconds_from_frames


def song_warnings(row: ResultRow) -> list[str]:
    """The warnings of a row that has a song; empty where there are none.

    They are: peaks that were turned down to play within full scale, or else clipped samples; silence; and a song that
    is shorter than asked by more than `is_truncated` explains. Rows of 0.1.0 have them too, except for the peaks and
    the length asked.
    """
    warnings = [row.warnings] if row.warnings else []
    measured = row.measurements or {}
    runs, samples = measured.get("clipping_runs") or 0, measured.get("clipped_samples") or 0
    if runs and not row.warnings:  # peaks that were turned down are measured as they were before
        warnings.append(f"clipped: {samples} samples at full scale, in {runs} {'run' if runs == 1 else 'runs'}")
    if "rms_dbfs" in measured and (silence := silence_warning(measured["rms_dbfs"])):
        warnings.append(silence)
    made, asked, rate = row.duration, row.duration_asked, row.sample_rate
    is_short = made is not None and asked is not None and rate and (asked - made) * rate >= 1
    if is_short and not is_truncated(made, asked, rate):
        warnings.append(f"{made:.2f} s of the {asked:g} s asked")
    return warnings


def is_truncated(duration: float | None, duration_asked: float | None, sample_rate: int | None) -> bool:
    """Whether a song is shorter than asked only because models make whole frames, by less than one frame.

    That is as it should be, and these three columns of its row tell it.
    """
    if duration is None or duration_asked is None or not sample_rate:
        return False
    sample = 1 / sample_rate
    return duration_asked - duration >= sample and duration + sample >= _in_frames(duration_asked)


def frames_note(songs: int) -> str:
    """That so many songs are truncated to whole frames."""
    are = "1 song is" if songs == 1 else f"{songs} songs are"
    return f"{are} up to {seconds_from_frames(1):.2f} s shorter than asked, as models make whole frames"


def _in_frames(seconds: float) -> float:
    """What a song of `seconds` lasts in whole frames."""
    return seconds_from_frames(frames_from_seconds(seconds))
