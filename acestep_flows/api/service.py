"""What the routes stand on: the store, the graphs, the keys, and who runs what was accepted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from acestep_flows.api.execution.run_notifier import RunNotifier
from acestep_flows.api.http.errors import Redactor
from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.http.limits import ByteBudget
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.home import Home
from acestep_flows.errors import NotFound
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.execution.runner import Runner
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.graph.language.syntax import GRAPH_NAME, Graph
from acestep_flows.graph.language.wording import unlike
from acestep_flows.graph.library import Library, shipped
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.registry import stages


def always_ready() -> str:
    """Nothing is in the way."""
    return ""


def unheard() -> None:
    """Nobody waits for new runs: executors look from time to time."""


async def no_numbers() -> Mapping[str, Any]:
    """Nothing is measured."""
    return {}


@dataclass(frozen=True)
class Service:
    """One server, as its routes see it.

    Attributes:
        home: the store.
        keys: who may call.
        options: bounds and permissions.
        scheduler: makes forecasts; without one, a dry run tells the nodes but no seconds.
        folders: graphs of the operator's own.
        ready: why the server cannot take runs yet, empty when it can.
        accepted: called on the event loop when a run was accepted, so that an executor in this process looks at once.
        bell: rings when an executor in this process has written something.
        numbers: what the serving processes say of themselves, in the form that `metrics` documents.
        webhook_secret: what webhooks are signed with.
        failures: of background work, by its name; counted on as it happens.
        hidden: folders, beside those the service knows itself, that no answer may tell of.
    """

    home: Home
    keys: Keyring = field(default_factory=Keyring)
    options: ApiOptions = field(default_factory=ApiOptions)
    scheduler: Scheduler | None = None
    folders: Sequence[Path] = ()
    ready: Callable[[], str] = always_ready
    accepted: Callable[[], None] = unheard
    bell: RunNotifier = field(default_factory=RunNotifier)
    numbers: Callable[[], Awaitable[Mapping[str, Any]]] = no_numbers
    webhook_secret: str | None = None
    failures: Counter[str] = field(default_factory=Counter)
    hidden: Sequence[Path] = ()
    _drawing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @cached_property
    def library(self) -> Library:
        """The graphs that callers know by name, read once: a changed file shows after a restart."""
        return Library(self.folders, working=None)

    @cached_property
    def redact(self) -> Redactor:
        package = Path(__file__).resolve().parents[2]
        return Redactor([self.home.root, *self.hidden, *self.folders, shipped(), package, Path.home()])

    @cached_property
    def registry(self) -> Mapping[str, type[Stage]]:
        return self.scheduler.stages if self.scheduler is not None else stages()

    @cached_property
    def timings(self) -> Timings:
        return self.scheduler.timings if self.scheduler is not None else Timings()

    @cached_property
    def decoding(self) -> ByteBudget:
        """Bytes of memory for all that requests have decoded at once: two uploads, or the inputs of a dry run."""
        return ByteBudget(max(2 * self.options.upload_decoded_bytes, self.options.input_decoded_bytes))

    @cached_property
    def _pictures(self) -> dict[str, bytes]:
        return {}

    @cached_property
    def _scopes(self) -> dict[str, Scope]:
        return {}

    def graph(self, name: str) -> Graph:
        """A graph by name, never by path; blocks while its file is read.

        Raises:
            NotFound: there is none.
        """
        if not GRAPH_NAME.fullmatch(name):
            raise NotFound(unlike("graph", name, self.library.names()))
        return self.library.load(name)

    def scope(self, name: str) -> Scope:
        """A checked graph by name.

        Raises:
            NotFound: there is none.
            GraphError: it has problems.
        """
        if name not in self._scopes:
            self._scopes[name] = self.checked(self.graph(name))
        return self._scopes[name]

    def picture(self, name: str) -> bytes:
        """A graph as PNG, drawn once: it takes a good part of a second.

        Raises:
            NotFound: there is none.
        """
        with self._drawing:
            if name not in self._pictures:
                from acestep_flows.graph.views.draw_png import png

                self._pictures[name] = png(self.graph(name))
            return self._pictures[name]

    def checked(self, graph: Graph) -> Scope:
        """A graph of any origin, checked; raises GraphError."""
        return checked(graph, self.registry, self.library.nested)

    def expected_seconds(self, plan: Plan) -> float | None:
        """What the nodes of a plan took before, one after the other, nothing cached; None where that is not known."""
        if self.scheduler is None:
            return None
        runner: Runner = self.scheduler.runner
        total = 0.0
        for node in plan.nodes.values():
            stage = self.registry[node.stage]
            steps = stage.Params.model_fields.get("steps")
            known = node.inputs.get("steps", steps.default) if steps is not None else None
            estimate = self.timings.estimate(node.stage, runner.numerics(stage), known)
            if estimate is None:
                return None
            total += estimate.seconds
        return total
