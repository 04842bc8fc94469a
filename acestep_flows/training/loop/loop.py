"""The training loop, the same for every kind of training. The task defines data and loss; the loop updates weights.

    OUT/recipe.json                 the recipe with all defaults
    OUT/states/step-00000500.pt     saved states, of which the newest few are kept
    OUT/curve.jsonl, curve.png      the losses
    OUT/previews/step-00000500/     the task's previews
    OUT/export/                     the result in the checkpoint layout; it exists once it is whole

A step depends on the recipe's seed, on its number, and on the weights and optimiser state before it. Batches are pure
functions of their number, and torch's generators are seeded for each batch. So a resumed run repeats the curve of an
uninterrupted one bit for bit (same machine, same thread count), and no sampler state needs saving.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, FlowsError, InputError, StorageError, TrainingError
from acestep_flows.optional_packages import require
from acestep_flows.training.loop import curve
from acestep_flows.training.loop.precision import autocast
from acestep_flows.training.loop.prefetch import Prefetcher
from acestep_flows.training.loop.recipe import LoopSettings, TrainingRecipe
from acestep_flows.training.loop.run import TrainingState
from acestep_flows.training.loop.schedule import learning_rate, step_seed
from acestep_flows.training.loop.states import States
from acestep_flows.training.loop.stopping import stop_requests
from acestep_flows.training.loop.task import Task, TrainingOutcome, TrainingProgress, TrainingWatch
from acestep_flows.training.loop.tracking import TrainingTracking, Untracked, tracking
from acestep_flows.training.loop.workers import SingleWorker, WorkerGroup, batches_per_worker

DESCRIBED = 4
"""Most batches that an error describes in words."""

__all__ = ["TrainingOutcome", "TrainingProgress", "Task", "TrainingWatch", "train"]


def train(
    task: Task,
    recipe: TrainingRecipe,
    out: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    watch: TrainingWatch = lambda progress: None,
    workers: WorkerGroup | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train until the recipe's last step, or until a stop request (ctrl-C, SIGTERM, `minutes`).

    Args:
        out: folder of the run.
        resume: continue from the newest state in `out`; start a new run where there is none.
        minutes: stop after this long, with the state saved.
        watch: called after every step, and with a text for every event.
        workers: the workers that share the training. Each calls this with the same arguments. None: this process alone.
        stop_requested: a further source of stop requests.

    Raises:
        InputError: `out` holds a run and `resume` is not set, or a run of another recipe; the workers cannot divide
            the batches of a step evenly.
        TrainingError: a loss or gradient was not finite. The state before that batch is saved.
        FlowsError: a batch cannot be made, for example because a recording is gone. The state before it is saved.
        StorageError: a file cannot be written. The states saved before are whole.
    """
    if recipe.loop.mlflow is not None:
        require("tracking", "loop.mlflow")
    workers = workers or SingleWorker()
    batches_per_worker(recipe, workers.size)
    if recipe.loop.threads:
        torch.set_num_threads(recipe.loop.threads)
    states = States(out / "states", recipe.loop.keep)
    if states.steps() and not resume:
        what = f"the folder holds a run at step {states.steps()[-1]}"
        raise InputError(what, where=str(out), allowed="--resume to go on, or another folder")
    state = TrainingState(task, recipe, states, averaged=workers.rank == 0)
    state.restore(out)
    if len(set(workers.gather(state.step))) > 1:
        raise CheckpointError("not every worker can read the newest state", where=str(states.folder))
    if workers.rank:
        return _Loop(task, recipe.loop, state, out, None, Untracked(), watch, workers).run(stop_requested, minutes)
    storage.write(out / "recipe.json", (recipe.model_dump_json(indent=2) + "\n").encode())
    log = curve.LossCurve(out / "curve.jsonl", state.step)
    with tracking(recipe.loop.mlflow, recipe, out) as tracker, stop_requests() as signalled:
        loop = _Loop(task, recipe.loop, state, out, log, tracker, watch, workers)
        outcome = loop.run(lambda: signalled() or stop_requested(), minutes)
        tracker.end(finished=outcome.finished)
        return outcome


class _Loop:
    """The steps of one call of `train`. Only the first worker has a log, and only it writes files."""

    def __init__(
        self,
        task: Task,
        settings: LoopSettings,
        state: TrainingState,
        out: Path,
        log: curve.LossCurve | None,
        tracker: TrainingTracking,
        watch: TrainingWatch,
        workers: WorkerGroup,
    ) -> None:
        self._task, self._settings, self._state, self._out = task, settings, state, out
        self._log, self._tracker, self._watch, self._workers = log, tracker, watch, workers
        self._seconds_per_step = 0.0
        self._saved_step = state.step if state.step else -1

    def run(self, stop_requested: Callable[[], bool], minutes: float | None) -> TrainingOutcome:
        state, settings = self._state, self._settings
        deadline = time.monotonic() + 60 * minutes if minutes is not None else math.inf
        for module in self._task.modules().values():
            module.train()
        if state.step:
            self._notify(f"resumed at step {state.step}")
        total, stride = settings.steps * settings.accumulate, self._workers.size
        with Prefetcher(self._task.batch, settings.ahead, total, stride) as batches:
            while state.step < settings.steps and not self._any_worker(
                stop_requested() or time.monotonic() >= deadline
            ):
                started = time.monotonic()
                self._step(batches)
                self._time_step(time.monotonic() - started)
                self._after_step()
        if self._log and self._saved_step != state.step:
            self._notify("saving the state")
        path = self._save()
        finished = state.step >= settings.steps
        if self._log:
            if finished and not (settings.preview_every and state.step % settings.preview_every == 0):
                self._preview(self._log)
            if finished:
                self._notify("writing the export")
                with self._evaluation(), storage.new_folder(self._out / "export") as folder:
                    self._task.export(folder)
            curve.draw(self._out / "curve.jsonl", self._out / "curve.png")
        return TrainingOutcome(state.step, finished, path)

    def _step(self, batches: Prefetcher) -> None:
        """Update the weights once, or not at all where a loss or a gradient is not finite."""
        state, settings = self._state, self._settings
        rate = learning_rate(settings, state.step)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        losses, bad = self._compute_gradients(batches)
        norm = math.nan
        if bad is None:
            self._workers.add_gradients(list(state.parameters.values()))
            norm = float(nn.utils.clip_grad_norm_(state.parameters.values(), settings.clip))
        if not math.isfinite(norm):
            state.optimiser.zero_grad()
            first = state.step * settings.accumulate
            if bad is None:
                self._skip_or_stop(range(first, first + settings.accumulate), "gradient")
            else:
                self._skip_or_stop(range(bad, bad + 1), "loss")
        else:
            state.optimiser.step()
            state.optimiser.zero_grad()
            if state.average:
                state.average.update(state.step)
            for name, loss in (losses | {"norm": norm}).items():
                state.sums[name] = state.sums.get(name, 0.0) + loss
            state.count += 1
        state.step += 1

    def _compute_gradients(self, batches: Prefetcher) -> tuple[dict[str, float], int | None]:
        """Compute the gradients of this worker's batches of the step.

        Returns the losses over all workers, and the first batch of any worker whose loss is not finite.

        Raises:
            FlowsError: a worker cannot make one of its batches. The state is saved.
        """
        state, settings, workers = self._state, self._settings, self._workers
        losses: dict[str, float] = {}
        bad, batch_error = None, None
        first = state.step * settings.accumulate
        for index in range(first + workers.rank, first + settings.accumulate, workers.size):
            try:
                batch = batches.take(index)
            except FlowsError as error:
                batch_error = error
                break
            torch.manual_seed(step_seed(state.seed, index))
            with self._autocast():
                terms = self._task.loss(batch)
            for name, term in terms.items():
                losses[name] = losses.get(name, 0.0) + float(term.detach()) / settings.accumulate
            if not math.isfinite(losses["loss"]):
                bad = index
                break
            (terms["loss"] / settings.accumulate).backward()
        all_losses, all_bad, all_errors = zip(*workers.gather((losses, bad, batch_error)), strict=True)
        if first_error := next((error for error in all_errors if error is not None), None):
            self._save()
            raise first_error
        total = {name: sum(part[name] for part in all_losses if name in part) for name in losses}
        return total, min((index for index in all_bad if index is not None), default=None)

    def _any_worker(self, value: bool) -> bool:
        """Whether `value` is true for any worker. All workers stop after the same step."""
        return any(self._workers.gather(value))

    def _time_step(self, seconds: float) -> None:
        """Update the running mean of the seconds per step."""
        mean = self._seconds_per_step
        self._seconds_per_step = 0.98 * mean + 0.02 * seconds if mean else seconds

    def _skip_or_stop(self, batches: range, what: str) -> None:
        """Leave these batches out, or stop where that is not allowed. The weights are unchanged.

        Raises:
            TrainingError: as many batches as `loop.skip_bad` allows were already left out.
        """
        batch = "; ".join(self._task.describe(index) for index in batches[:DESCRIBED])
        if len(batches) == 1:
            batch += f" (batch {batches[0]})"
        else:
            others = " and others" * (len(batches) > DESCRIBED)
            batch = f"one of batches {batches[0]} to {batches[-1]} ({batch}{others})"
        if self._state.skipped >= self._settings.skip_bad:
            path = self._save()
            advice = f"{path.name} is the state before it; --set loop.skip_bad=N leaves up to N such batches out"
            raise TrainingError(f"step {self._state.step}: the {what} of {batch} is not finite; {advice}")
        self._state.skipped += 1
        if self._log:
            self._log.add({"step": self._state.step + 1, "left_out": batch})
        self._notify(f"left out {batch}: its {what} is not finite")

    def _after_step(self) -> None:
        state, settings = self._state, self._settings
        losses = {_curve_name(name): total / state.count for name, total in state.sums.items()} if state.count else {}
        self._watch(TrainingProgress(state.step, settings.steps, self._seconds_per_step, losses))
        if state.step % settings.log_every == 0 and state.count:
            rate = learning_rate(settings, state.step - 1)
            if self._log:
                seconds = round(self._seconds_per_step, 4)
                self._log.add({"step": state.step, **losses, "lr": rate, "seconds_per_step": seconds})
            self._tracker.metrics(state.step, losses | {"lr": rate})
            state.sums, state.count = {}, 0
        if state.step % settings.save_every == 0:
            self._save()
        if self._log and settings.preview_every and state.step % settings.preview_every == 0:
            self._preview(self._log)

    def _save(self) -> Path:
        if self._log and self._saved_step != self._state.step:
            self._saved_step = self._state.step
            return self._state.save()
        return self._state.path

    def _preview(self, log: curve.LossCurve) -> None:
        step = self._state.step
        folder = self._out / "previews" / f"step-{step:08d}"
        self._notify("making a preview")
        with self._evaluation():
            folder.mkdir(parents=True, exist_ok=True)
            measurements = dict(self._task.preview(folder, step))
        curve.draw(self._out / "curve.jsonl", self._out / "curve.png")
        if measurements:
            log.add({"step": step, "preview": measurements})
            self._notify(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in measurements.items()))
        self._tracker.metrics(step, measurements)
        self._tracker.files(folder)

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        """Inside the block: averaged weights, modules in eval mode, no gradients, and generators seeded by the run."""
        modules = self._task.modules().values()
        with torch.no_grad(), self._state.average.applied() if self._state.average else nullcontext():
            for module in modules:
                module.eval()
            try:
                torch.manual_seed(self._state.seed)
                yield
            except OSError as error:
                raise StorageError(f"{error.filename or self._out}: {error.strerror or error}") from error
            finally:
                for module in modules:
                    module.train()

    def _autocast(self) -> Any:
        return autocast(self._task.device, self._settings.precision)

    def _notify(self, text: str) -> None:
        self._watch(TrainingProgress(self._state.step, self._settings.steps, self._seconds_per_step, {}, text))


def _curve_name(name: str) -> str:
    """The name of a loss term in the curve: all but the norm begin with "loss"."""
    return name if name in ("loss", "norm") else f"loss_{name}"
