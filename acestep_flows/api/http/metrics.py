"""Prometheus metrics: requests are counted as they pass, and runs as they end; the rest is read when it is asked for.

Counters of runs and nodes tell what this process ended itself, so that their sum over all servers counts a run once,
also one that is deleted before anybody asks.
Gauges of the table (`OF_TABLE`) are the same on every server.

`Service.process_stats` returns a list of replicas for each process. A replica has `replica` (its id), `stages`,
`under_way`, `calls`, `peak_memory`, `edges` (by stage: `calls`, `seconds`, `bytes_in`, `bytes_out`), `passes` (by
stage whose calls may share forward passes: `passes`, `items`), and if it has a step engine, `engine` (the fields of
`runtime.occupancy.EngineStats`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acestep_flows.api.http.dependencies import Streams, in_thread
from acestep_flows.api.http.errors import CODE
from acestep_flows.api.service import Service
from acestep_flows.api.store.run_statistics import NodeStatistics, RunStatistics
from acestep_flows.api.store.schema import QUEUE
from acestep_flows.api.store.statistics import active_node_counts, count_executors

PREFIX = "acestep_flows"
FOR_ALL = tuple(f"{PREFIX}_{name}" for name in ("streams", "executors", "process_replicas"))
"""Metrics that every caller of a server with several keys may see."""

OF_TABLE = "The same on every server of a table: take the maximum, not the sum."

RECENT = 30.0  # seconds without renewal after which an executor does not count
CACHED = frozenset({"cached"})
SHORT_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
LONG_BUCKETS = (0.01, 0.05, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1800, 3600)
RTF_BUCKETS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)

_M = TypeVar("_M")
_New: TypeAlias = Callable[..., _M]
"""Makes a metric from its name, description and labels."""


class Metrics:
    """The metrics of one server process. Counters start with the process."""

    def __init__(self, service: Service, streams: Streams) -> None:
        self._service, self._streams = service, streams
        self._registry = registry = CollectorRegistry()
        self._update_lock = asyncio.Lock()
        self._last_values: dict[tuple[str, ...], float] = {}
        """The latest value of each counter of each replica."""

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=registry)

        self._register_request_metrics(gauge, counter, histogram)
        self._register_run_metrics(gauge, counter, histogram)
        self._register_process_metrics(gauge, counter)
        service.home.database.on_ended(self._count)

    def _register_request_metrics(self, gauge: _New[Gauge], counter: _New[Counter], histogram: _New[Histogram]) -> None:
        self.requests = counter("http_requests", "Requests answered.", "method", "route", "status")
        self.latency = histogram(
            "http_seconds", "Seconds until the headers of a response.", SHORT_BUCKETS, "method", "route"
        )
        self.refused = counter("http_errors", "Requests answered with an error, by error code.", "code", "status")
        self.open_streams = gauge("streams", "Open event streams and requests that wait for a run.")

    def _register_run_metrics(self, gauge: _New[Gauge], counter: _New[Counter], histogram: _New[Histogram]) -> None:
        self.errors = counter("errors", "Runs that this server ended with an error, by error code.", "code")
        self.ended = counter("runs_ended", "Runs that this server ended.", "graph", "state")
        self.waited = histogram("run_queue_seconds", "Seconds that a run was queued.", LONG_BUCKETS)
        self.took = histogram("run_seconds", "Seconds from start to end of a run.", LONG_BUCKETS, "graph")
        self.rtf = histogram("run_rtf", "Seconds of a run for each second of its audio.", RTF_BUCKETS, "graph")
        self.node_seconds = histogram("stage_seconds", "Seconds that a stage computed.", LONG_BUCKETS, "stage")
        self.node_waited = histogram(
            "stage_queue_seconds", "Seconds from a node's inputs being ready to its start.", LONG_BUCKETS, "stage"
        )
        self.nodes = counter("nodes", "Nodes of runs that ended; cached nodes are cache hits.", "stage", "state")
        self.output_bytes = counter("output_bytes", "Bytes of outputs.", "kind")
        self.runs = gauge("runs", f"Runs in the table. {OF_TABLE}", "state")
        self.stage_nodes = gauge("stage_nodes", f"Nodes of running runs. {OF_TABLE}", "stage", "state")
        self.executors = gauge("executors", f"Live executors. {OF_TABLE}")
        self.paused = gauge("queue_paused", f"1 while the queue is paused. {OF_TABLE}")
        self.draining = gauge("draining", "1 while this server starts no more runs, because it drains.")
        self.failures = gauge("background_failures", "Failed rounds of background work in this process.", "work")

    def _register_process_metrics(self, gauge: _New[Gauge], counter: _New[Counter]) -> None:
        self.replicas = gauge("process_replicas", "Replicas of a process of the pool.", "process")
        self.under_way = gauge("process_under_way", "Calls that a process is computing.", "process")
        self.calls = counter("process_calls", "Calls of a process.", "process")
        self.memory = gauge("process_peak_bytes", "Highest peak memory of a replica.", "process")
        self.edges = counter("stage_bytes", "Bytes of inputs and outputs of a stage.", "stage", "direction")
        self.passes = counter("stage_passes", "Forward passes of a stage that encodes or decodes.", "stage")
        self.passed = counter(
            "stage_passed", "Calls in those passes; divided by the passes, the fill of a batch.", "stage"
        )
        self.engine = gauge(
            "engine",
            "The step engine: songs, songs_per_turn (the fill of its batch), occupancy, busy, steps_per_second, ...",
            "process",
            "figure",
        )

    async def page(self, whole: bool = True) -> bytes:
        """The metrics in the text format of Prometheus: all, or those that tell nothing of what callers do."""
        async with self._update_lock:
            await self._update()
            return generate_latest(self._registry if whole else self._registry.restricted_registry(FOR_ALL))

    async def _update(self) -> None:
        home = self._service.home
        counts = await in_thread(home.runs.counts)
        for state, count in counts.items():
            self.runs.labels(state.value).set(count)
        self.stage_nodes.clear()
        for (stage, state_name), count in (await in_thread(active_node_counts, home.database)).items():
            self.stage_nodes.labels(stage, state_name).set(count)
        self.executors.set(await in_thread(count_executors, home.database, time.time() - RECENT))
        switched_on = await in_thread(home.switches.read)
        self.paused.set(QUEUE in switched_on)
        self.draining.set(self._service.server in switched_on)
        self.open_streams.set(self._streams.open)
        for work, count in tuple(self._service.failures.items()):
            self.failures.labels(work).set(count)
        self._set_process_metrics(await self._service.process_stats())

    def _count(self, ended: Sequence[RunStatistics]) -> None:
        """Count runs that this process has ended. Called from any thread."""
        for run in ended:
            self._count_run(run)

    def _count_run(self, run: RunStatistics) -> None:
        self.ended.labels(run.graph, run.state.value).inc()
        if run.error:
            self.errors.labels(run.error).inc()
        if run.waited is not None:
            self.waited.observe(run.waited)
        if run.seconds is not None:
            self.took.labels(run.graph).observe(run.seconds)
            if run.audio_seconds:
                self.rtf.labels(run.graph).observe(run.seconds / run.audio_seconds)
        for node in run.nodes:
            self._count_node(node)
        for kind, size in run.output_bytes.items():
            self.output_bytes.labels(kind).inc(size)

    def _count_node(self, node: NodeStatistics) -> None:
        self.nodes.labels(node.stage, node.state).inc()
        if node.waited is not None:
            self.node_waited.labels(node.stage).observe(node.waited)
        if node.seconds is not None and node.state not in CACHED:
            self.node_seconds.labels(node.stage).observe(node.seconds)

    def _set_process_metrics(self, process_stats: Mapping[str, Any]) -> None:
        for metric in (self.replicas, self.under_way, self.memory, self.engine):
            metric.clear()
        for process, replicas in process_stats.items():
            self.replicas.labels(process).set(len(replicas))
            self.under_way.labels(process).set(sum(replica.get("under_way", 0) for replica in replicas))
            self.memory.labels(process).set(max((replica.get("peak_memory") or 0 for replica in replicas), default=0))
            for at, replica in enumerate(replicas):
                self._count_replica(process, str(replica.get("replica", at)), replica)
            engines = [replica["engine"] for replica in replicas if replica.get("engine")]
            for name in engines[0] if engines else ():
                values = [float(engine[name]) for engine in engines]
                mean = name in ("occupancy", "busy", "songs_per_turn")
                self.engine.labels(process, name).set(sum(values) / len(values) if mean else sum(values))

    def _count_replica(self, process: str, name: str, replica: Mapping[str, Any]) -> None:
        """Add what a replica did since the last call. What a replica did that has ended stays counted."""
        self.calls.labels(process).inc(self._increase(replica.get("calls", 0), process, name, "calls"))
        for stage, edge in replica.get("edges", {}).items():
            for direction in ("in", "out"):
                size = self._increase(edge[f"bytes_{direction}"], process, name, stage, direction)
                self.edges.labels(stage, direction).inc(size)
        for stage, batches in replica.get("passes", {}).items():
            self.passes.labels(stage).inc(self._increase(batches["passes"], process, name, stage, "passes"))
            self.passed.labels(stage).inc(self._increase(batches["items"], process, name, stage, "items"))

    def _increase(self, now: float, *counter: str) -> float:
        before, self._last_values[counter] = self._last_values.get(counter, 0.0), now
        return now - before if now >= before else now  # a lower value: a new replica has the same name


class RequestMetrics:
    """Middleware that counts requests by route. Paths are not labels, because their number is unlimited."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, answered = time.perf_counter(), False

        async def observe(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                route = _route(scope)
                self._metrics.requests.labels(scope["method"], route, str(message["status"])).inc()
                self._metrics.latency.labels(scope["method"], route).observe(time.perf_counter() - begun)
                if (code := scope.get(CODE)) is not None:
                    self._metrics.refused.labels(code, str(message["status"])).inc()
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except Exception:  # an outer layer answers it, and does not count
            if not answered:
                self._metrics.requests.labels(scope["method"], _route(scope), "500").inc()
                self._metrics.refused.labels("internal", "500").inc()
            raise


def _route(scope: Scope) -> str:
    """The path of the route that answers, with that of the mounted application it belongs to; "none" without one."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "none"
    root = str(scope.get("root_path", ""))
    return root.removeprefix(str(scope.get("app_root_path", root))) + str(path)
