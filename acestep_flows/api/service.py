"""What the routes need: the store, the graphs, the API keys, and callbacks of the executor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from acestep_flows.api.execution.run_news import RunNews
from acestep_flows.api.execution.run_notifier import RunNotifier
from acestep_flows.api.http.errors import Redactor
from acestep_flows.api.http.graph_folders import GraphFolders
from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.http.limits import ByteBudget
from acestep_flows.api.http.model_card import ModelCard, unknown_model
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.statistics import node_durations
from acestep_flows.errors import NotFound
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.execution.runner import Runner
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.song_length import planned_lengths
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.graph.language.syntax import GRAPH_NAME, Graph
from acestep_flows.graph.library import Library, shipped
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.registry import stages

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

R = TypeVar("R")

LONGEST_GRAPH_NAME = 200
"""Characters of the name of a graph. It is the name of a file, too."""


def always_ready() -> str:
    """Report a server as ready."""
    return ""


def ignore_accepted() -> None:
    """Ignore a new run. Executors of other processes find it when they poll."""


async def no_process_stats() -> Mapping[str, Any]:
    """Report no serving processes."""
    return {}


@dataclass(frozen=True)
class Service:
    """One server, as its routes see it.

    Attributes:
        home: the store.
        keys: API keys of the callers.
        options: limits and permissions.
        scheduler: makes forecasts. Without one, a dry run lists the nodes without their seconds.
        folders: folders with the operator's own graphs.
        ready: returns why the server takes no runs; an empty text when it does.
        on_accepted: called on the event loop when a run was accepted, so that the executor of this process wakes.
        notifier: signals that the executor of this process wrote something about a run.
        process_stats: returns statistics of the serving processes, in the form that `http.metrics` documents.
        webhook_secret: secret that signs webhooks; None sends none.
        failures: failures of background work, by its name.
        hidden: more folders whose paths must not appear in responses.
        model_card: describes the model. It may block.
        server: name of the executor of this process; empty if it has none.
        tracer: OpenTelemetry provider for spans of requests; None takes that of the process, if any.
    """

    home: Home
    keys: Keyring = field(default_factory=Keyring)
    options: ApiOptions = field(default_factory=ApiOptions)
    scheduler: Scheduler | None = None
    folders: Sequence[Path] = ()
    ready: Callable[[], str] = always_ready
    on_accepted: Callable[[], None] = ignore_accepted
    notifier: RunNotifier = field(default_factory=RunNotifier)
    process_stats: Callable[[], Awaitable[Mapping[str, Any]]] = no_process_stats
    webhook_secret: str | None = None
    failures: Counter[str] = field(default_factory=Counter)
    hidden: Sequence[Path] = ()
    model_card: Callable[[], ModelCard] = unknown_model
    server: str = ""
    tracer: TracerProvider | None = None

    @cached_property
    def news(self) -> RunNews:
        """Wakes whoever waits for a run that another server works on."""
        return RunNews(self.home.feed, self.notifier)

    @cached_property
    def _graph_folders(self) -> GraphFolders:
        return GraphFolders(self.folders, lambda graph, library: checked(graph, self.registry, library.nested))

    @property
    def library(self) -> Library:
        """The graphs that can be run by name, as their files are now."""
        return self._graph_folders.library

    @cached_property
    def redact(self) -> Redactor:
        """Removes the server's folders from messages."""
        package = Path(__file__).resolve().parents[2]
        return Redactor([self.home.root, *self.hidden, *self.folders, shipped(), package, Path.home()])

    @cached_property
    def registry(self) -> Mapping[str, type[Stage]]:
        """The stages by name."""
        return self.scheduler.stages if self.scheduler is not None else stages()

    @cached_property
    def timings(self) -> Timings:
        """Measured durations of stages."""
        return self.scheduler.timings if self.scheduler is not None else Timings()

    @cached_property
    def decode_budget(self) -> ByteBudget:
        """Memory in bytes for what requests decode at the same time: two uploads, or the inputs of a dry run."""
        return ByteBudget(max(2 * self.options.upload_decoded_bytes, self.options.input_decoded_bytes))

    def graph(self, name: str) -> Graph:
        """A graph by name, never by path. Blocks while its file is read.

        Raises:
            NotFound: there is no such graph.
        """
        return self._named(name, lambda: self.library.load(name))

    def _named(self, name: str, find: Callable[[], R], field: str = "name") -> R:
        if len(name) > LONGEST_GRAPH_NAME or not GRAPH_NAME.fullmatch(name):
            raise self._no_graph(name, field)
        try:
            return find()
        except NotFound:
            raise self._no_graph(name, field) from None

    def _no_graph(self, name: str, field: str) -> NotFound:
        error = self.library.unknown(name)
        error.field = field
        return error

    def scope(self, name: str, field: str = "name") -> Scope:
        """A checked graph by name, checked once until a file changes.

        Args:
            field: what named it in the request, for the error.

        Raises:
            NotFound: there is no such graph.
            GraphError: the graph has problems.
        """
        return self._named(name, lambda: self._graph_folders.scope(name), field)

    def picture(self, name: str) -> bytes:
        """A graph as PNG, drawn once, because it takes almost a second.

        Raises:
            NotFound: there is no such graph.
        """
        return self._named(name, lambda: self._graph_folders.picture(name))

    def checked(self, graph: Graph) -> Scope:
        """Check a graph of any origin.

        Raises:
            GraphError: the graph has problems.
        """
        return checked(graph, self.registry, self.library.nested)

    def timings_of(self, owner: str) -> Timings:
        """Durations of stages in an owner's latest runs. Blocks."""
        own = Timings()
        if self.scheduler is None:
            return own
        for stage, steps, seconds in node_durations(self.home.database, owner):
            if stage in self.registry:
                own.record(stage, self.scheduler.runner.numerics(self.registry[stage]), steps, seconds, 0)
        return own

    def expected_seconds(self, plan: Plan) -> float | None:
        """Seconds for all nodes of a plan one after the other, with nothing cached; None if a stage was never timed."""
        if self.scheduler is None:
            return None
        runner: Runner = self.scheduler.runner
        total = 0.0
        lengths = planned_lengths(plan, self.registry)
        for node in plan.nodes.values():
            stage = self.registry[node.stage]
            steps = stage.Params.model_fields.get("steps")
            step_count = node.inputs.get("steps", steps.default) if steps is not None else None
            estimate = self.timings.estimate(node.stage, runner.numerics(stage), step_count, lengths[node.id])
            if estimate is None:
                return None
            total += estimate.seconds
        return total
