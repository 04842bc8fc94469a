"""The HTML page of a report: one section for each subject, left out where there is nothing to show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from acestep_flows.audio.musical import PITCHES
from acestep_flows.bulk.report import plots
from acestep_flows.bulk.report.findings import Findings
from acestep_flows.bulk.report.players import Player
from acestep_flows.bulk.report.players import html as player_html
from acestep_flows.bulk.report.plots import number
from acestep_flows.bulk.song_warnings import frames_note
from acestep_flows.wording.phrases import counted

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
"""The page contains texts of the manifest, so nothing in it may load or run anything."""
MOST_LINES = 20
LONGEST_CELL = 200


def page(findings: Findings, players: Sequence[Player]) -> str:
    """The whole HTML file."""
    style = files("acestep_flows.bulk.report").joinpath("page.css").read_text()
    title = f"{findings.job.graph}: {counted(str(findings.done), 'song')}"
    sections = [
        _header(findings),
        _plots(findings),
        _failures(findings),
        _stages(findings),
        _players(players, [*findings.job.source.columns, *(sweep.name for sweep in findings.job.sweeps)]),
        _likes(findings),
        _facts(findings),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>\n{style}</style></head>\n'
        f"<body>\n{''.join(section for section in sections if section)}</body></html>\n"
    )


def _header(findings: Findings) -> str:
    job, seconds = findings.job, sum(findings.column("duration"))
    ended = max(findings.times, default=None)
    when = datetime.fromtimestamp(ended, UTC).strftime("%d %B %Y, %H:%M UTC") if ended else ""
    words = [job.source.url, f"shard {findings.shard}" if findings.shard.of > 1 else "", when]
    tiles = [
        _tile(f"{findings.done:,}", f"songs of {counted(f'{findings.rows:,}', 'row')}"),
        _tile(_span(seconds), "of audio"),
        _tile(_bytes(sum(findings.column("audio_bytes"))), "of audio files"),
    ]
    if findings.duplicates:
        tiles.append(_tile(f"{findings.duplicates:,}", "rows with the recipe of another row"))
    if rate := findings.songs_per_hour:
        tiles.append(_tile(f"{number(rate)}", "songs per hour of work"))
    if speed := findings.speed:
        tiles.append(_tile(f"{number(speed)}", "seconds of audio per second"))
    if findings.retakes:
        tiles.append(_tile(f"{findings.retakes:,}", "retakes that a gate asked for"))
    tiles.append(_tile(f"{findings.failed:,}", "rows given up", bad=findings.failed > 0))
    if findings.missing:
        tiles.append(_tile(f"{findings.missing:,}", "rows still to come", bad=True))
    heading = f"<header><h1>{escape(job.graph)} in bulk</h1><p>{escape(', '.join(filter(None, words)))}</p></header>"
    return f'{heading}<div class="tiles">{"".join(tiles)}</div>'


def _plots(findings: Findings) -> str:
    keys = Counter(key for key in findings.measured("key") if key is not None)
    order = [f"{tonic} {mode}" for mode in ("major", "minor") for tonic in PITCHES]
    names = {key: key.replace(" major", "").replace(" minor", "m") for key in order}
    khz = [value / 1000 if value is not None else None for value in findings.measured("cutoff_hz")]
    silence = [100 * value if value is not None else None for value in findings.measured("silence_share")]
    shown = [
        plots.histogram(findings.cells("duration"), "s", "Duration"),
        plots.histogram(findings.measured("loudness_lufs"), "LUFS", "Integrated loudness"),
        plots.histogram(findings.measured("true_peak_dbtp"), "dBTP", "True peak"),
        plots.histogram(findings.measured("tempo_bpm"), "bpm", "Tempo, estimated"),
        plots.columns({names[key]: keys[key] for key in order}, "Key, estimated"),
        plots.histogram(khz, "kHz", "Spectral cut-off"),
        plots.histogram(silence, "%", "Silence"),
        plots.histogram(findings.measured("clipped_samples"), "samples", "Clipped samples"),
        plots.histogram(findings.measured("stereo_correlation"), "", "Stereo correlation"),
    ]
    drawn = "".join(shown)
    note = f'<p class="note">{frames_note(findings.truncated)}.</p>' if findings.truncated else ""
    return _section("What was made", f'<div class="plots">{drawn}</div>{note}' if drawn else "")


def _failures(findings: Findings) -> str:
    if not findings.causes and not findings.gates:
        return _section("Failures", "<p>No row was given up, and no attempt failed.</p>")
    drawn = plots.bars(findings.causes, "Attempts that failed, by cause", kind="bad")
    drawn += plots.bars(findings.gates, "Attempts that missed a gate", kind="bad")
    lines = [
        (row["id"], row["line"], row["attempt"], row["status"], row["error"] or "")
        for row in findings.given_up(MOST_LINES)
    ]
    table = _table(("row", "line", "attempt", "status", "cause"), lines, numbers=(1, 2))
    if findings.failed > len(lines):
        table += f'<p class="note">{findings.failed - len(lines)} more are in the dead-letter table.</p>'
    return _section("Failures", f'<div class="plots">{drawn}</div>{table if lines else ""}')


def _stages(findings: Findings) -> str:
    seconds = {name: np.array(values) for name, values in findings.stage_seconds.items()}
    means = {name: float(values.mean()) for name, values in seconds.items()}
    order = sorted(means, key=means.__getitem__, reverse=True)
    whole = sum(means.values()) or 1.0
    drawn = plots.bars({name: means[name] for name in order}, "Seconds of work per song, mean", "s")
    drawn += plots.curve(findings.ended, "Songs finished", findings.ended_unit, "pauses between calls left out")
    lines = [
        (
            name,
            f"{means[name]:.3g}",
            f"{np.quantile(seconds[name], 0.95):.3g}",
            _span(float(seconds[name].sum())),
            f"{100 * means[name] / whole:.0f} %",
        )
        for name in order
    ]
    table = _table(("stage", "mean, s", "95 %, s", "in all", "share"), lines, numbers=(1, 2, 3, 4))
    if not lines and not drawn:
        return ""
    return _section("Where the time went", f'<div class="plots">{drawn}</div>{table}')


def _players(players: Sequence[Player], names: Sequence[str]) -> str:
    if not players:
        return ""
    cards = "".join(player_html(player, names) for player in players)
    return _section(f"{len(players)} of the songs, at random", cards, "players")


def _likes(findings: Findings) -> str:
    if not findings.likes:
        return ""
    sound = f"{counted(str(len(findings.likes)), 'song')} {'sounds' if len(findings.likes) == 1 else 'sound'}"
    note = (
        f"<p>{sound} like an earlier one, by the audio fingerprints. Such songs are kept; "
        "<code>duplicates.jsonl</code> lists them.</p>"
    )
    lines = [(like.id, like.of, f"{100 * like.similarity:.0f} %") for like in findings.likes[:MOST_LINES]]
    return _section("Songs that sound the same", note + _table(("row", "like", "equal bits"), lines, numbers=(2,)))


def _facts(findings: Findings) -> str:
    job = findings.job
    facts = {
        "graph": f"{job.graph} {job.digest}",
        "weights": ", ".join(f"{part} {digest}" for part, digest in job.weights.items()) or job.model,
        "model": job.model,
        "manifest": f"{job.source.url} {job.source.digest}".strip(),
        "constants": json.dumps(dict(job.constants), ensure_ascii=False) if job.constants else "",
        "sweeps": ", ".join(f"{sweep.name} ({len(sweep.values)} values)" for sweep in job.sweeps),
        "gates": ", ".join(map(str, job.gates)),
        "retakes": str(job.retakes) if job.gates else "",
        "versions": ", ".join(f"{name} {version}" for name, version in findings.versions.items()),
    }
    return _section("What it was made with", _table((), [(name, text) for name, text in facts.items() if text]))


def _section(heading: str, content: str, kind: str = "") -> str:
    if not content:
        return ""
    inner = f'<div class="{kind}">{content}</div>' if kind else content
    return f"<section><h2>{escape(heading)}</h2>{inner}</section>\n"


def _tile(value: str, label: str, bad: bool = False) -> str:
    return f'<div class="tile{" bad" if bad else ""}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def _table(heads: Iterable[str], lines: Iterable[Iterable[Any]], numbers: Iterable[int] = ()) -> str:
    right = set(numbers)

    def cells(tag: str, line: Iterable[Any]) -> str:
        return "".join(
            f"<{tag}{' class=n' if place in right else ''}>{escape(_short(str(cell)))}</{tag}>"
            for place, cell in enumerate(line)
        )

    head = cells("th", heads)
    body = "".join(f"<tr>{cells('td', line)}</tr>" for line in lines)
    return f'<div class="wrap"><table>{f"<tr>{head}</tr>" if head else ""}{body}</table></div>'


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 3] + "..."


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 7200 else f"{number(seconds / 3600)} h"


def _bytes(size: float) -> str:
    return f"{number(size / 1e6)} MB" if size < 1e9 else f"{number(size / 1e9)} GB"
