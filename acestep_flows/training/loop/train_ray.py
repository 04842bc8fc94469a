"""Training in several processes of this machine, through Ray Train. Of the loop, only this module needs Ray.

    driver                                          workers, one process each
    the command line, ctrl-C, progress  <- link ->  the first: states, curve, previews, export
    a Ray of its own                                all: their share of each step's batches

The workers find each other through a file and talk over the loopback interface, so nothing listens on the network. The
first worker has a link to the driver: it sends progress and receives stop requests. A broken link means that the driver
is gone and ends the training. A failed or lost worker ends it too. Saved states are as safe as those of one process.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from acestep_flows.errors import FlowsError, TrainingError
from acestep_flows.optional_packages import require
from acestep_flows.runtime.bulk.cluster import cluster
from acestep_flows.runtime.serving.private_folder import new_folder
from acestep_flows.training.loop.recipe import KINDS, TrainingRecipe, parse_recipe
from acestep_flows.training.loop.stopping import stop_requests
from acestep_flows.training.loop.task import TrainingOutcome, TrainingProgress, TrainingWatch
from acestep_flows.training.loop.workers import batches_per_worker

PATIENCE = datetime.timedelta(days=1)
"""How long workers wait for the first one, which may be making a preview. Ray notices lost workers."""

TICK = 0.2
"""Seconds between two checks of the driver for a stop request."""

DRAIN_SECONDS = 5.0
"""Seconds that the driver still receives messages once the workers have ended."""

LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
STOP = "stop"
SOCKET = "link"


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
    """Train as `loop.train` does, in `workers` processes that share the batches of each step.

    Args:
        workers: number of processes.
        device: cpu, or cuda for a GPU per worker.

    Raises:
        MissingPackage: Ray is not installed.
        InputError: the workers cannot divide the batches of a step evenly.
        TrainingError: a worker was lost.
        FlowsError: any error of `loop.train`.
    """
    require("bulk", "--workers")
    batches_per_worker(recipe, workers)
    with _meeting_folder() as meeting_folder, stop_requests() as stop_requested:
        arguments = {
            "recipe": recipe.model_dump(mode="json"),
            "out": str(out.resolve()),
            "working_folder": str(Path.cwd()),
            "meeting_folder": str(meeting_folder),
            "device": device,
            "threads": recipe.loop.threads or max(1, (os.cpu_count() or 1) // workers),
            "resume": resume,
            "minutes": minutes,
        }
        on_gpu = device.startswith("cuda")
        with contextlib.closing(_DriverLink(meeting_folder, watch)) as link, cluster(workers, workers if on_gpu else 0):
            trainer = _TrainerThread(arguments, workers, on_gpu)
            stop_sent = False
            while trainer.is_alive():
                link.receive(TICK)
                stop_sent = stop_sent or (stop_requested() and link.send(STOP))
            link.drain()
    if trainer.error is not None:
        raise trainer.error
    if link.outcome is None:
        raise TrainingError("the workers have ended without a result; --resume goes on from the last state")
    return link.outcome


@contextlib.contextmanager
def _meeting_folder() -> Iterator[Path]:
    """A folder for the workers' meeting file and the link. One left by a killed driver is removed by a later run."""
    folder = new_folder()
    try:
        yield folder.content
    finally:
        folder.remove()


class _TrainerThread(threading.Thread):
    """Runs Ray Train. It has a thread of its own, as in the main thread it would handle ctrl-C itself.

    Attributes:
        error: the error that ended the training, if there was one.
    """

    def __init__(self, arguments: dict[str, Any], workers: int, on_gpu: bool) -> None:
        super().__init__(name="ray train", daemon=True)
        self._arguments, self._workers, self._on_gpu = arguments, workers, on_gpu
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
        from ray.train import RunConfig, ScalingConfig
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError

        try:
            DataParallelTrainer(
                _train_worker,
                train_loop_config=self._arguments,
                scaling_config=ScalingConfig(num_workers=self._workers, use_gpu=self._on_gpu),
                run_config=RunConfig(name="training", storage_path=self._arguments["meeting_folder"]),
            ).fit()
        except TrainingFailedError as error:
            self.error = _user_error(error)
        except Exception as error:  # noqa: BLE001 - the main thread raises it again
            self.error = error


def _user_error(error: Exception) -> Exception:
    """The error that a user can act on: the `FlowsError` that a worker raised, or that a worker was lost."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for _, failure in sorted(failures.items()):
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, FlowsError):
                return cause
            cause = cause.__cause__ or getattr(cause, "cause", None)
    reasons = [str(failure).strip().splitlines()[-1] for failure in failures.values()] or str(error).splitlines()[:1]
    return TrainingError(f"a worker was lost: {reasons[0]}; --resume goes on from the last state")


class _DriverLink:
    """The driver's end of the link to the first worker.

    Attributes:
        outcome: the outcome of the training, once the worker has sent it.
    """

    def __init__(self, folder: Path, watch: TrainingWatch) -> None:
        self.outcome: TrainingOutcome | None = None
        self._watch = watch
        self._listener = Listener(str(folder / SOCKET), family="AF_UNIX")
        self._messages: queue.Queue[TrainingProgress | TrainingOutcome] = queue.Queue()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._read, name="training link", daemon=True)
        self._thread.start()

    def receive(self, seconds: float) -> None:
        """Handle the worker's messages for `seconds`: pass progress to `watch`, keep the outcome."""
        until = time.monotonic() + seconds
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if isinstance(message, TrainingOutcome):
                self.outcome = message
            else:
                self._watch(message)

    def drain(self) -> None:
        """Handle the messages that the worker sent before it ended."""
        if self._connection is not None:
            self._thread.join(DRAIN_SECONDS)
        self.receive(0)

    def send(self, request: str) -> bool:
        """Send a request to the worker. Returns whether a worker was connected."""
        try:
            if self._connection is not None:
                self._connection.send(request)
                return True
        except OSError:  # the worker has ended
            self._connection = None
        return False

    def close(self) -> None:
        self._listener.close()

    def _read(self) -> None:
        try:
            with self._listener.accept() as connection:
                self._connection = connection
                while True:
                    self._messages.put(connection.recv())
        except (EOFError, OSError):  # the worker has ended
            self._connection = None


class _WorkerLink:
    """The first worker's end of the link to the driver."""

    def __init__(self, folder: Path) -> None:
        self._connection = Client(str(folder / SOCKET), family="AF_UNIX")
        self._stop = False

    def send(self, message: TrainingProgress | TrainingOutcome) -> None:
        """Send a message to the driver.

        Raises:
            TrainingError: the driver is gone.
        """
        try:
            self._connection.send(message)
        except OSError:
            raise TrainingError("the driver is gone") from None

    def stop_requested(self) -> bool:
        """Whether the driver has asked to stop.

        Raises:
            TrainingError: the driver is gone.
        """
        try:
            while self._connection.poll():
                self._stop = self._connection.recv() == STOP
        except (EOFError, OSError):
            raise TrainingError("the driver is gone") from None
        return self._stop


def _train_worker(arguments: dict[str, Any]) -> None:
    """Train as one of the workers; Ray calls this in each worker process."""
    import importlib

    import torch
    from torch import distributed

    from acestep_flows.training.loop import loop
    from acestep_flows.training.loop.workers import DistributedWorkers

    os.chdir(arguments["working_folder"])  # paths in the recipe are relative to it
    torch.set_num_threads(arguments["threads"])
    folder, device = Path(arguments["meeting_folder"]), arguments["device"]
    if device.startswith("cuda"):  # each worker sees its own GPU only
        device = "cuda:0"
        torch.cuda.set_device(0)
    _join_workers(folder, device)
    try:
        workers = DistributedWorkers()
        link = _WorkerLink(folder) if workers.rank == 0 else None
        recipe = parse_recipe(arguments["recipe"], "the driver")
        task = importlib.import_module(KINDS[recipe.kind]).build(recipe, device)
        with getattr(task, "ready", nullcontext)():
            outcome = loop.train(
                task,
                recipe,
                Path(arguments["out"]),
                resume=arguments["resume"],
                minutes=arguments["minutes"],
                watch=link.send if link else lambda progress: None,
                workers=workers,
                stop_requested=link.stop_requested if link else lambda: False,
            )
        if link:
            link.send(outcome)
    finally:
        distributed.destroy_process_group()


def _join_workers(folder: Path, device: str) -> None:
    """Open torch's process group with the other workers: they meet by a file and talk over the loopback interface."""
    import ray.train
    from torch import distributed

    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ[name] = LOOPBACK
    context = ray.train.get_context()
    distributed.init_process_group(
        "nccl" if device != "cpu" else "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        timeout=PATIENCE,
    )
