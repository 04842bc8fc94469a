"""The training loop: one for every kind. What is learnt from what is the task's; this moves the weights.

    OUT/recipe.json                 what is trained, with every default spelt out
    OUT/states/step-00000500.pt     saved states; the newest few are kept
    OUT/curve.jsonl, curve.png      the losses
    OUT/previews/step-00000500/     whatever the task shows
    OUT/export/                     the result, in the layout that the stages load; whole once it is there

A step depends on the recipe's seed, its number, and the weights and optimiser before it, and on nothing else: batches
are pure functions of their number, and the generators are seeded anew for each. So a resumed run repeats the curve of
an uninterrupted one bit for bit (same machine, same thread count), and there is no sampler to save.
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
from acestep_flows.training.loop import curve
from acestep_flows.training.loop.precision import computing
from acestep_flows.training.loop.prefetch import Prefetcher
from acestep_flows.training.loop.recipe import LoopSettings, TrainingRecipe
from acestep_flows.training.loop.run import TrainingState
from acestep_flows.training.loop.schedule import learning_rate, step_seed
from acestep_flows.training.loop.states import States
from acestep_flows.training.loop.stopping import stop_requests
from acestep_flows.training.loop.task import Task, TrainingOutcome, TrainingProgress, TrainingWatch
from acestep_flows.training.loop.tracking import TrainingTracking, Untracked, tracking
from acestep_flows.training.loop.workers import SingleWorker, WorkerGroup, share

NAMED = 4
"""Batches whose songs an error tells; of a step with more it tells the numbers alone."""

__all__ = ["TrainingOutcome", "TrainingProgress", "Task", "TrainingWatch", "train"]


def train(
    task: Task,
    recipe: TrainingRecipe,
    out: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    watch: TrainingWatch = lambda progress: None,
    crew: WorkerGroup | None = None,
    asked: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train until the recipe's last step, or until asked to stop (ctrl-C, SIGTERM, `minutes`).

    Args:
        out: folder of the run.
        resume: go on from the newest state in `out`; begin anew where there is none.
        minutes: stop, with the state saved, after this long.
        crew: who trains along; every member calls this with the same arguments. None: nobody.
        asked: whether somebody asks to stop, beside ctrl-C and SIGTERM.

    Raises:
        InputError: `out` holds a run that is not to be resumed, or one of another recipe; the crew cannot share the
            batches of a step evenly.
        TrainingError: a loss or gradient was not finite; the state before that batch is saved.
        FlowsError: a batch cannot be made, as a recording is gone; likewise.
        StorageError: something cannot be written; the states that were saved before are whole.
    """
    crew = crew or SingleWorker()
    share(recipe, crew.size)
    if recipe.loop.threads:
        torch.set_num_threads(recipe.loop.threads)
    states = States(out / "states", recipe.loop.keep)
    if states.steps() and not resume:
        where = f"step {states.steps()[-1]}"
        raise InputError(f"holds a run at {where}", where=str(out), allowed="--resume to go on, or another folder")
    run = TrainingState(task, recipe, states, averaged=crew.rank == 0)
    run.restore(out)
    if len(set(crew.gather(run.step))) > 1:
        raise CheckpointError("not every worker can read the newest state", where=str(states.folder))
    if crew.rank:
        return _Loop(task, recipe.loop, run, out, None, Untracked(), watch, crew).go(asked, minutes)
    storage.write(out / "recipe.json", (recipe.model_dump_json(indent=2) + "\n").encode())
    log = curve.LossCurve(out / "curve.jsonl", run.step)
    with tracking(recipe.loop.mlflow, recipe, out) as tracker, stop_requests() as stop:
        loop = _Loop(task, recipe.loop, run, out, log, tracker, watch, crew)
        outcome = loop.go(lambda: stop() or asked(), minutes)
        tracker.end(finished=outcome.finished)
        return outcome


class _Loop:
    """The steps of one call of `train`. Only a member with a log writes."""

    def __init__(
        self,
        task: Task,
        settings: LoopSettings,
        run: TrainingState,
        out: Path,
        log: curve.LossCurve | None,
        tracker: TrainingTracking,
        watch: TrainingWatch,
        crew: WorkerGroup,
    ) -> None:
        self._task, self._settings, self._run, self._out = task, settings, run, out
        self._log, self._tracker, self._watch, self._crew = log, tracker, watch, crew
        self._pace = 0.0
        self._saved = run.step if run.step else -1

    def go(self, stop: Callable[[], bool], minutes: float | None) -> TrainingOutcome:
        run, settings = self._run, self._settings
        deadline = time.monotonic() + 60 * minutes if minutes is not None else math.inf
        for module in self._task.modules().values():
            module.train()
        if run.step:
            self._tell(f"resumed at step {run.step}")
        total, stride = settings.steps * settings.accumulate, self._crew.size
        with Prefetcher(self._task.batch, settings.ahead, total, stride) as batches:
            while run.step < settings.steps and not self._any(stop() or time.monotonic() >= deadline):
                begun = time.monotonic()
                self._step(batches)
                passed = time.monotonic() - begun
                self._pace = passed if not self._pace else 0.98 * self._pace + 0.02 * passed
                self._after_step()
        state = self._save()
        finished = run.step >= settings.steps
        if self._log:
            if finished and not (settings.preview_every and run.step % settings.preview_every == 0):
                self._preview(self._log)
            if finished:
                with self._presenting(), storage.new_folder(self._out / "export") as folder:
                    self._task.export(folder)
            curve.draw(self._out / "curve.jsonl", self._out / "curve.png")
        return TrainingOutcome(run.step, finished, state)

    def _step(self, batches: Prefetcher) -> None:
        """One move of the weights; none at all where a loss or a gradient is not finite."""
        run, settings = self._run, self._settings
        rate = learning_rate(settings, run.step)
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        losses, bad = self._derive(batches)
        norm = math.nan
        if bad is None:
            self._crew.add_gradients(list(run.parameters.values()))
            norm = float(nn.utils.clip_grad_norm_(run.parameters.values(), settings.clip))
        if not math.isfinite(norm):
            run.optimiser.zero_grad()
            first = run.step * settings.accumulate
            if bad is None:
                self._refuse(range(first, first + settings.accumulate), "gradient")
            else:
                self._refuse(range(bad, bad + 1), "loss")
        else:
            run.optimiser.step()
            run.optimiser.zero_grad()
            if run.average:
                run.average.update(run.step)
            for name, loss in (losses | {"norm": norm}).items():
                run.sums[name] = run.sums.get(name, 0.0) + loss
            run.count += 1
        run.step += 1

    def _derive(self, batches: Prefetcher) -> tuple[dict[str, float], int | None]:
        """Gradients of this member's batches of the step; gives everyone's losses, and the first batch without one."""
        run, settings, crew = self._run, self._settings, self._crew
        losses: dict[str, float] = {}
        bad, missing = None, None
        first = run.step * settings.accumulate
        for index in range(first + crew.rank, first + settings.accumulate, crew.size):
            try:
                batch = batches.take(index)
            except FlowsError as error:
                missing = error
                break
            torch.manual_seed(step_seed(run.seed, index))
            with self._autocast():
                terms = self._task.loss(batch)
            for name, term in terms.items():
                losses[name] = losses.get(name, 0.0) + float(term.detach()) / settings.accumulate
            if not math.isfinite(losses["loss"]):
                bad = index
                break
            (terms["loss"] / settings.accumulate).backward()
        heard = crew.gather((losses, bad, missing))
        if lacking := next((their for *_, their in heard if their is not None), None):
            self._save()
            raise lacking
        total = {name: sum(their[name] for their, *_ in heard if name in their) for name in losses}
        return total, min((their for _, their, _ in heard if their is not None), default=None)

    def _any(self, stop: bool) -> bool:
        """Whether any member wants to stop: all stop after the same step."""
        return any(self._crew.gather(stop))

    def _refuse(self, batches: range, what: str) -> None:
        """Leave these batches out, or stop where that is not allowed. The weights have not been touched."""
        batch = "; ".join(self._task.describe(index) for index in batches[:NAMED])
        if len(batches) == 1:
            batch += f" (batch {batches[0]})"
        else:
            batch = f"one of batches {batches[0]} to {batches[-1]} ({batch}{' and others' * (len(batches) > NAMED)})"
        if self._run.skipped >= self._settings.skip_bad:
            state = self._save()
            advice = f"{state.name} is the state before it; --set loop.skip_bad=N leaves up to N such batches out"
            raise TrainingError(f"step {self._run.step}: the {what} of {batch} is not finite; {advice}")
        self._run.skipped += 1
        if self._log:
            self._log.add({"step": self._run.step + 1, "left_out": batch})
        self._tell(f"left out {batch}: its {what} is not finite")

    def _after_step(self) -> None:
        run, settings = self._run, self._settings
        losses = {_term(name): total / run.count for name, total in run.sums.items()} if run.count else {}
        self._watch(TrainingProgress(run.step, settings.steps, self._pace, losses))
        if run.step % settings.log_every == 0 and run.count:
            rate = learning_rate(settings, run.step - 1)
            if self._log:
                self._log.add({"step": run.step, **losses, "lr": rate, "seconds_per_step": round(self._pace, 4)})
            self._tracker.metrics(run.step, losses | {"lr": rate})
            run.sums, run.count = {}, 0
        if run.step % settings.save_every == 0:
            self._save()
        if self._log and settings.preview_every and run.step % settings.preview_every == 0:
            self._preview(self._log)

    def _save(self) -> Path:
        if self._log and self._saved != self._run.step:
            self._saved = self._run.step
            return self._run.save()
        return self._run.path

    def _preview(self, log: curve.LossCurve) -> None:
        step = self._run.step
        folder = self._out / "previews" / f"step-{step:08d}"
        with self._presenting():
            folder.mkdir(parents=True, exist_ok=True)
            measured = dict(self._task.preview(folder, step))
        curve.draw(self._out / "curve.jsonl", self._out / "curve.png")
        if measured:
            log.add({"step": step, "preview": measured})
            self._tell(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in measured.items()))
        self._tracker.metrics(step, measured)
        self._tracker.files(folder)

    @contextmanager
    def _presenting(self) -> Iterator[None]:
        """The averaged weights in place, nothing that training does differently, and no trace on its randomness."""
        modules = self._task.modules().values()
        with torch.no_grad(), self._run.average.applied() if self._run.average else nullcontext():
            for module in modules:
                module.eval()
            try:
                torch.manual_seed(self._run.seed)
                yield
            except OSError as error:
                raise StorageError(f"{error.filename or self._out}: {error.strerror or error}") from error
            finally:
                for module in modules:
                    module.train()

    def _autocast(self) -> Any:
        return computing(self._task.device, self._settings.precision)

    def _tell(self, text: str) -> None:
        self._watch(TrainingProgress(self._run.step, self._settings.steps, self._pace, {}, text))


def _term(name: str) -> str:
    """A term's name in the curve: losses begin with "loss"."""
    return name if name in ("loss", "norm") else f"loss_{name}"
