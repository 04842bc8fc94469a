"""The in-process door as a Python API: weights, one scheduler and an event loop, kept between runs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from acestep_flows.errors import Cancelled, InputError
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.execution.cache import Mode
from acestep_flows.graph.execution.events import Event
from acestep_flows.graph.execution.forecast import Forecast, forecast
from acestep_flows.graph.execution.result import Options, ignore_event
from acestep_flows.graph.execution.run import PlanRun
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.model.kept_choice import keep_choices_in
from acestep_flows.model.placement import Placement
from acestep_flows.session.exit import close_at_exit
from acestep_flows.session.local_scheduler import local_scheduler
from acestep_flows.session.loop_thread import LoopThread
from acestep_flows.session.options import (
    check_deadline,
    check_mode,
    check_progress,
    parameter_names,
    pick_placement,
    pick_weights,
    read_names,
    read_path,
)
from acestep_flows.session.planned_run import GraphSource, PlannedRun, read_graph
from acestep_flows.session.progress import EventListener, show_run
from acestep_flows.session.request import plan_request
from acestep_flows.session.result import RunResult
from acestep_flows.session.run_handle import RunHandle
from acestep_flows.session.told_notes import ToldNotes
from acestep_flows.settings import read_settings
from acestep_flows.stages.registry import stages
from acestep_flows.storage import check_working_folder
from acestep_flows.weights.choose import Weights

T = TypeVar("T")


class Session:
    """Runs graphs in this process. Weights are loaded by the first run that needs them, and stay until `close`.

    Use it as a context manager, or call `close`; the end of the program closes it too. It works in scripts, in
    notebooks and other programs whose event loop runs, and from several threads at once.

        with Session() as session:
            result = session.run("text2music", tags="lo-fi, piano", duration=10, seed=7)
        result.save("songs")

    Args:
        weights: a folder in the published layout, a fetched model of the hub ("ORG/NAME"), "embedded" for acestep-nano,
            or None: what the environment names, else what was fetched, else acestep-nano.
        device: cpu, cuda, cuda:N, mps, or auto: a GPU where there is one.
        dtype: float32, bfloat16, or auto: bfloat16 on CUDA.
        compile: torch.compile the denoiser.
        lyric_vocab: the lyric vocabulary, where it does not lie beside the weights.
        graph_folders: where to look for graphs by name, before the working folder's `graphs/` and the shipped ones.
        cache: what runs do with stored results unless they say otherwise: "use" them, "refresh" (compute and replace
            them), or "off" (neither read nor store).
        cache_folder: the folder of stored results; None: the one that the command line uses.
        deadline: seconds after which a run is stopped, unless it says otherwise; None: never.

    Attributes:
        weights: the choice of weights; its text says where they lie.
        placement: device and precision.

    Raises:
        InputError: an option is wrong, or the device is not there.
        NotFound: a graph folder does not exist.
        CheckpointError: a weights file is missing, truncated or not the one expected.
    """

    def __init__(
        self,
        weights: str | Path | Weights | None = None,
        device: str | Placement = "auto",
        dtype: str = "auto",
        *,
        compile: bool = False,
        lyric_vocab: str | Path | None = None,
        graph_folders: str | Path | Sequence[str | Path] = (),
        cache: str = "use",
        cache_folder: str | Path | None = None,
        deadline: float | None = None,
    ) -> None:
        check_working_folder()
        self._mode, self._deadline = check_mode(cache), check_deadline(deadline)
        self._graph_folders = [read_path(path, "graph_folders") for path in read_names(graph_folders, "graph_folders")]
        Library(self._graph_folders)  # refuses a folder that does not exist
        settings = read_settings()
        self._results = settings.results if cache_folder is None else read_path(cache_folder, "cache_folder")
        if isinstance(weights, Weights):  # chosen by the caller (command line); keep its error wording
            self.weights, self._checkpoint = weights, weights.open()
        else:
            self.weights = pick_weights(weights, lyric_vocab, settings)
            with parameter_names():
                self._checkpoint = self.weights.open()
        placement = device if isinstance(device, Placement) else pick_placement(device, dtype, compile)
        self.placement = placement.with_products(settings.products)
        keep_choices_in(settings.cache)
        self._loop, self._lock = LoopThread(), threading.RLock()
        self._scheduler: Scheduler | None = None
        self._running: set[RunHandle] = set()
        self._told, self._closed = ToldNotes(), False
        self._process = os.getpid()
        close_at_exit(self)

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"<Session: {self.weights.model}, {self.placement.numerics}{state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what still runs at its next step boundary, and end the threads. The weights go with the session."""
        self._loop.refuse_own_thread()
        with self._lock:
            self._closed = True
            running = list(self._running)
        for handle in running:
            handle.cancel()
        for handle in running:
            handle.wait()
        if self._scheduler is not None:
            self._scheduler.runner.close()  # type: ignore[attr-defined]  # a LocalRunner
        self._loop.close()

    @property
    def scheduler(self) -> Scheduler:
        """Stages, runner and cache that all runs of this session share."""
        with self._lock:
            self._refuse_closed()
            if self._scheduler is None:
                self._scheduler = local_scheduler(self._checkpoint, self.placement, self._results)
            return self._scheduler

    # Runs.

    def run(
        self,
        graph: GraphSource | PlannedRun | None = None,
        /,
        *,
        inputs: Mapping[str, Any] | None = None,
        recipe: str | PathLike[str] | None = None,
        progress: bool | Callable[[Event], None] = False,
        cache: str | None = None,
        deadline: float | None = None,
        **named: Any,
    ) -> RunResult:
        """Run a graph to its end. Ctrl-C stops it at its next step boundary, with nothing half-written.

        Args:
            graph: the name of a graph, the path of a graph file, YAML text, a map, or a graph that `read` gave; None:
                the recipe's own.
            inputs: inputs of the graph by name; for names that are options here.
            recipe: a file whose recipe gives the inputs that are not given here: a recipe of ours, an audio file that
                has one, or v1's `*_input_params.json`. What cannot be taken over is logged.
            progress: True shows the run on stderr; a function is called with every event, on the session's thread.
            cache: use, refresh or off; None: as the session says.
            deadline: seconds after which the run is stopped; None: as the session says.
            named: inputs of the graph by name (see `docs/python.md` for what each type takes).

        Raises:
            NotFound: there is no such graph.
            GraphError: the graph has problems.
            InputError: an input or option is unknown, missing, wrong or not readable; or the session is closed.
            StageError: a stage failed.
            DeadlineExceeded: the deadline passed.
            Cancelled: the session was closed meanwhile.
        """
        options: dict[str, Any] = {"recipe": recipe, "progress": progress, "cache": cache, "deadline": deadline}
        return self.start(graph, inputs=inputs, **options, **named).result()

    async def run_async(
        self,
        graph: GraphSource | PlannedRun | None = None,
        /,
        *,
        inputs: Mapping[str, Any] | None = None,
        recipe: str | PathLike[str] | None = None,
        progress: bool | Callable[[Event], None] = False,
        cache: str | None = None,
        deadline: float | None = None,
        **named: Any,
    ) -> RunResult:
        """As `run`, for async code: the caller's event loop goes on, and cancelling the caller stops the run."""
        options = {"recipe": recipe, "progress": progress, "cache": cache, "deadline": deadline}
        planned = await asyncio.to_thread(self._planned, graph, inputs, named, options)
        return await self.start(planned, progress=progress, cache=cache, deadline=deadline)

    def start(
        self,
        graph: GraphSource | PlannedRun | None = None,
        /,
        *,
        inputs: Mapping[str, Any] | None = None,
        recipe: str | PathLike[str] | None = None,
        progress: bool | Callable[[Event], None] = False,
        cache: str | None = None,
        deadline: float | None = None,
        **named: Any,
    ) -> RunHandle:
        """Begin a run and return at once; the handle waits for it or stops it.

        Arguments are those of `run`. What is wrong with graph or inputs is raised here, what goes wrong in the run by
        `RunHandle.result`.
        """
        options = {"recipe": recipe, "progress": progress, "cache": cache, "deadline": deadline}
        planned = self._planned(graph, inputs, named, options)
        mode = self._mode if cache is None else check_mode(cache)
        seconds = self._deadline if deadline is None else check_deadline(deadline)
        check_progress(progress)
        handle = RunHandle(planned.plan.graph, self._loop)
        with self._lock:
            outcome = self._submit(self._execute(planned, Options(mode, seconds), progress, handle))
            self._running.add(handle)
        outcome.add_done_callback(partial(self._finished, handle))
        return handle

    def plan(
        self,
        graph: GraphSource | PlannedRun | None = None,
        /,
        *,
        inputs: Mapping[str, Any] | None = None,
        recipe: str | PathLike[str] | None = None,
        cache: str | None = None,
        **named: Any,
    ) -> Forecast:
        """What a run would do, without doing it: for each node whether it is cached, and how long it should take.

        Arguments and errors are those of `run`.
        """
        planned = self._planned(graph, inputs, named, {"recipe": recipe, "cache": cache})
        mode = self._mode if cache is None else check_mode(cache)
        self._loop.refuse_own_thread()
        return self._submit(self._forecast(planned, mode)).result()

    # Graphs.

    @property
    def graphs(self) -> dict[str, str]:
        """Every graph that can be run by name, with the first line of its summary."""
        graphs = Library(self._graph_folders).graphs()
        return {
            name: graph.summary.partition("\n")[0] if graph.readable else "(not readable)"
            for name, graph in graphs.items()
        }

    def read(self, graph: GraphSource) -> Scope:
        """A graph in any form, read and checked; runs of it are planned without checking it again.

        Raises:
            NotFound, InputError, GraphError: as `run` says.
        """
        return read_graph(graph, self._graph_folders)

    def describe(self, graph: GraphSource) -> str:
        """What a graph takes, does and gives, as text."""
        from acestep_flows.graph.views.describe import describe

        scope = self.read(graph)
        return describe(scope.graph, stages(), Library(self._graph_folders).nested)

    # Inside.

    def _planned(
        self,
        graph: GraphSource | PlannedRun | None,
        inputs: Mapping[str, Any] | None,
        named: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> PlannedRun:
        self._refuse_closed()
        if not isinstance(graph, PlannedRun):
            folders, results = self._graph_folders, self._results
            return plan_request(graph, inputs, named, options, graph_folders=folders, results=results)
        if inputs or named or options["recipe"] is not None:
            raise InputError("the plan has its inputs", where="inputs", allowed="none beside a planned run")
        return graph

    async def _execute(
        self, planned: PlannedRun, options: Options, progress: bool | Callable[[Event], None], handle: RunHandle
    ) -> RunResult:
        with ExitStack() as stack:
            callback = progress if callable(progress) else ignore_event
            if progress is True:
                callback = stack.enter_context(show_run([node.stage for node in planned.plan.nodes.values()]))
            notes = self._told.begin(planned, self._checkpoint)
            listener = EventListener(callback, handle.cancel)
            run = PlanRun(self.scheduler, planned.plan, replace(options, on_event=listener.hear))
            handle.begin(run)
            try:
                executed = await run.result()
            except Cancelled:
                if listener.error is None:
                    raise
            if listener.error is not None:
                raise listener.error
        outputs = await self.scheduler.runner.fetch(dict(executed.outputs))
        return self._told.result(planned, executed, outputs, self.weights.model, notes)

    def _finished(self, handle: RunHandle, outcome: Future[RunResult]) -> None:
        with self._lock:
            self._running.discard(handle)
        handle.finish(outcome)

    async def _forecast(self, planned: PlannedRun, mode: Mode) -> Forecast:
        scheduler = self.scheduler
        if mode != "use":  # nothing that is stored would be used
            scheduler = Scheduler(scheduler.stages, scheduler.runner, timings=scheduler.timings)
        return await forecast(planned.plan, scheduler)

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            try:
                self._refuse_closed()
            except InputError:
                work.close()
                raise
            return self._loop.submit(work)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InputError("the session is closed; make a new one")
        if self._process != os.getpid():  # a fork does not copy the threads that runs need
            raise InputError("the session was made before a fork; make one in this process")
