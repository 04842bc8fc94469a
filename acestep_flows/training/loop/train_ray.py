"""Training by several processes of this machine, through Ray Train. Only this module, of the training, needs Ray.

    driver                                          workers, one process each
    the command line, ctrl-C, progress  <- line ->  the first: states, curve, previews, export
    a Ray of our own                                all: their share of each step's batches

The workers meet by a file and talk over the loopback interface, so that nothing listens on the network. The first one
has a line to the driver: progress goes up, the wish to stop comes down, and a line that breaks ends the training, as
then the driver is gone. A worker that fails or is lost ends it too; the states are as whole as those of one process.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from acestep_flows.errors import FlowsError, TrainingError
from acestep_flows.runtime.bulk.cluster import cluster
from acestep_flows.runtime.serving import orphans
from acestep_flows.training.loop.recipe import KINDS, TrainingRecipe, parse_recipe
from acestep_flows.training.loop.stopping import stop_requests
from acestep_flows.training.loop.task import TrainingOutcome, TrainingProgress, TrainingWatch
from acestep_flows.training.loop.workers import share

PATIENCE = datetime.timedelta(days=1)
"""How long workers wait for the first, which may be making a preview. Lost workers are found out otherwise."""

TICK = 0.2
"""Seconds between two looks of the driver at what has come in."""

LAST_WORDS = 5.0
"""Seconds that the line has to empty once the workers have ended."""

LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
STOP = "stop"


def train(
    recipe: TrainingRecipe,
    out: Path,
    workers: int,
    *,
    device: str = "cpu",
    resume: bool = False,
    minutes: float | None = None,
    watch: TrainingWatch = lambda progress: None,
) -> TrainingOutcome:
    """As `loop.train`, by `workers` processes that share the batches of each step.

    Args:
        device: cpu, or cuda: a GPU for each worker.

    Raises:
        FlowsError: what `loop.train` raises, or a worker was lost.
    """
    share(recipe, workers)
    with _place() as place, stop_requests() as stop:
        given = {
            "recipe": recipe.model_dump(mode="json"),
            "out": str(out.resolve()),
            "folder": str(Path.cwd()),
            "place": str(place),
            "device": device,
            "threads": recipe.loop.threads or max(1, (os.cpu_count() or 1) // workers),
            "resume": resume,
            "minutes": minutes,
        }
        on_gpu = device.startswith("cuda")
        with contextlib.closing(_Line(place, watch)) as line, cluster(workers, workers if on_gpu else 0):
            fitting = _Fitting(given, workers, on_gpu)
            told = False
            while fitting.is_alive():
                line.listen(TICK)
                told = told or (stop() and line.send(STOP))
            line.listen_to_the_end()
    if fitting.error is not None:
        raise fitting.error
    if line.outcome is None:
        raise TrainingError("the workers have ended without a word; --resume goes on from the last state")
    return line.outcome


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """A folder to meet in. What a killed driver leaves, the next Ray of our own clears away."""
    place = orphans.new_folder()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _Fitting(threading.Thread):
    """Ray Train at work. Not in the main thread, where it would take ctrl-C for itself."""

    def __init__(self, given: dict[str, Any], workers: int, on_gpu: bool) -> None:
        super().__init__(name="ray train", daemon=True)
        self._given, self._workers, self._on_gpu = given, workers, on_gpu
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
        from ray.train import RunConfig, ScalingConfig
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError

        try:
            DataParallelTrainer(
                _work,
                train_loop_config=self._given,
                scaling_config=ScalingConfig(num_workers=self._workers, use_gpu=self._on_gpu),
                run_config=RunConfig(name="training", storage_path=self._given["place"]),
            ).fit()
        except TrainingFailedError as error:
            self.error = _cause(error)
        except Exception as error:  # noqa: BLE001 - raised again by the main thread
            self.error = error


def _cause(error: Exception) -> Exception:
    """What a user can act on: the error of ours that a worker raised, if one did."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for _, failure in sorted(failures.items()):
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, FlowsError):
                return cause
            cause = cause.__cause__ or getattr(cause, "cause", None)
    told = [str(failure).strip().splitlines()[-1] for failure in failures.values()] or str(error).splitlines()[:1]
    return TrainingError(f"a worker was lost: {told[0]}; --resume goes on from the last state")


class _Line:
    """The driver's end of the line to the first worker."""

    def __init__(self, place: Path, watch: TrainingWatch) -> None:
        self.outcome: TrainingOutcome | None = None
        self._watch = watch
        self._listener = Listener(str(place / "line"), family="AF_UNIX")
        self._heard: queue.Queue[TrainingProgress | TrainingOutcome] = queue.Queue()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._hear, name="line", daemon=True)
        self._thread.start()

    def listen(self, seconds: float) -> None:
        """Pass on what has come in, and wait for more for so long."""
        until = time.monotonic() + seconds
        while True:
            try:
                said = self._heard.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if isinstance(said, TrainingOutcome):
                self.outcome = said
            else:
                self._watch(said)

    def listen_to_the_end(self) -> None:
        """Pass on what the worker said before it ended."""
        if self._connection is not None:
            self._thread.join(LAST_WORDS)
        self.listen(0)

    def send(self, wish: str) -> bool:
        """Say something to the worker; whether it was there."""
        try:
            if self._connection is not None:
                self._connection.send(wish)
                return True
        except OSError:  # it has ended meanwhile
            self._connection = None
        return False

    def close(self) -> None:
        self._listener.close()

    def _hear(self) -> None:
        try:
            with self._listener.accept() as connection:
                self._connection = connection
                while True:
                    self._heard.put(connection.recv())
        except (EOFError, OSError):  # the worker has ended
            self._connection = None


class _WorkersLine:
    """The first worker's end."""

    def __init__(self, place: Path) -> None:
        self._connection = Client(str(place / "line"), family="AF_UNIX")
        self._stop = False

    def say(self, said: TrainingProgress | TrainingOutcome) -> None:
        try:
            self._connection.send(said)
        except OSError:
            raise TrainingError("the driver is gone") from None

    def asked(self) -> bool:
        """Whether the driver wants it to stop."""
        try:
            while self._connection.poll():
                self._stop = self._connection.recv() == STOP
        except (EOFError, OSError):
            raise TrainingError("the driver is gone") from None
        return self._stop


def _work(given: dict[str, Any]) -> None:
    """What each worker does."""
    import importlib

    import ray.train
    import torch
    from torch import distributed

    from acestep_flows.training.loop import loop
    from acestep_flows.training.loop.workers import Group

    os.chdir(given["folder"])  # paths in the recipe are seen from there
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ[name] = LOOPBACK
    torch.set_num_threads(given["threads"])
    place, device = Path(given["place"]), given["device"]
    if device.startswith("cuda"):  # each sees its own GPU only
        device = "cuda:0"
        torch.cuda.set_device(0)
    here = ray.train.get_context()
    distributed.init_process_group(
        "nccl" if device != "cpu" else "gloo",
        init_method=f"file://{place / 'meeting'}",
        rank=here.get_world_rank(),
        world_size=here.get_world_size(),
        timeout=PATIENCE,
    )
    try:
        crew = Group()
        line = _WorkersLine(place) if crew.rank == 0 else None
        recipe = parse_recipe(given["recipe"], "the driver")
        task = importlib.import_module(KINDS[recipe.kind]).build(recipe, device)
        with getattr(task, "ready", nullcontext)():
            outcome = loop.train(
                task,
                recipe,
                Path(given["out"]),
                resume=given["resume"],
                minutes=given["minutes"],
                watch=line.say if line else lambda progress: None,
                crew=crew,
                asked=line.asked if line else lambda: False,
            )
        if line:
            line.say(outcome)
    finally:
        distributed.destroy_process_group()
