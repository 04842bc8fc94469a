"""The in-process door: graphs run in this process, from Python, from the command line, and for a bulk job's price.

`Session` holds the weights, one scheduler and an event loop of its own; `RunResult` is what a run gives. It knows the
graph layer, the local runner and the files of outputs; it never imports a server, Ray or the command line. Begin with
`session.py`.
"""

from acestep_flows.session.planned_run import PlannedRun, plan_run, read_graph
from acestep_flows.session.result import RunResult, SongAudio
from acestep_flows.session.run_handle import RunHandle
from acestep_flows.session.session import Session

__all__ = ["PlannedRun", "RunResult", "RunHandle", "Session", "SongAudio", "plan_run", "read_graph"]
