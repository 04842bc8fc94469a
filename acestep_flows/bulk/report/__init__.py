"""The report of a job: one HTML file with plots and players that opens from disk, without a server.

It is made from the job's tables and audio files alone, and must not know how songs were rendered. Begin with `render`;
`findings` computes the numbers, `page` arranges them, `plots` and `players` draw.
"""

from __future__ import annotations

from acestep_flows.bulk.report import players
from acestep_flows.bulk.report.findings import Findings
from acestep_flows.bulk.report.page import page
from acestep_flows.bulk.results import rows_of

FILE = "report.html"

__all__ = ["FILE", "Findings", "render"]


def render(findings: Findings, load: players.Load) -> str:
    """The report as HTML.

    Args:
        findings: the numbers of the job.
        load: reads an audio file of the job, for the players; the songs are the same for the same job.
    """
    places = players.chosen(findings.done, findings.job.digest)
    rows = rows_of(findings.songs.sort_by("index").take(places)) if places else ()
    return page(findings, [players.player(row, load) for row in rows])
