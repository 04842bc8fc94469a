"""The training loop: one for every kind. What is learnt from what is the task's; this moves the weights.

    OUT/recipe.json                 what is trained, with every default spelt out
    OUT/states/step-00000500.pt     saved states; the newest few are kept
    OUT/curve.jsonl, curve.png      the losses
    OUT/previews/step-00000500/     whatever the task shows
    OUT/export/                     the result, in the layout that the stages load

A step depends on the recipe's seed, its number, and the weights and optimiser before it, and on nothing else: batches
are pure functions of their number, and the generators are seeded anew for each. So a resumed run repeats the curve of
an uninterrupted one bit for bit (same machine, same thread count), and there is no sampler to save.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, InputError, TrainingError
from acestep_flows.training import curve
from acestep_flows.training.average import Average
from acestep_flows.training.recipe import LoopSettings, Recipe
from acestep_flows.training.states import States
from acestep_flows.training.tracking import Tracking, tracking

FREE = ("loop", "loss", "source.cache", "source.workers")
"""What of a recipe may change between a run and its resumption."""


class Task(Protocol):
    """One kind of training, over one recipe."""

    device: str

    def modules(self) -> dict[str, nn.Module]:
        """What is trained: of these, the parameters that require a gradient, and the buffers, are saved."""

    def batch(self, index: int) -> Any:
        """The batch of this number: a pure function of the recipe. Called in a thread, ahead of need."""

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """What is minimised as "loss", and whatever else is worth a curve. Draws from torch's own generators."""

    def describe(self, index: int) -> str:
        """The batch of this number in words: what to look at when its loss is not a number."""

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        """Write pictures or sound into `folder`; gives measurements. The averaged weights are in place."""

    def export(self, folder: Path) -> None:
        """Write the trained part into `folder`. The averaged weights are in place."""


@dataclass(frozen=True)
class Progress:
    """Where the loop is. `text` is something that happened, else empty."""

    step: int
    steps: int
    seconds_per_step: float
    losses: Mapping[str, float] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class Outcome:
    """How it ended: after `step` steps, `finished` or stopped on request with its state saved."""

    step: int
    finished: bool
    state: Path


Watch = Callable[[Progress], None]


def train(
    task: Task,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    watch: Watch = lambda progress: None,
) -> Outcome:
    """Train until the recipe's last step, or until asked to stop (ctrl-C, SIGTERM, `minutes`).

    Args:
        out: folder of the run.
        resume: go on from the newest state in `out`; begin anew where there is none.
        minutes: stop, with the state saved, after this long.

    Raises:
        InputError: `out` holds a run that is not to be resumed, or one of another recipe.
        TrainingError: a loss or gradient was not finite; the state before that batch is saved.
        StorageError: something cannot be written; the states that were saved before are whole.
    """
    if recipe.loop.threads:
        torch.set_num_threads(recipe.loop.threads)
    states = States(out / "states", recipe.loop.keep)
    if states.steps() and not resume:
        where = f"step {states.steps()[-1]}"
        raise InputError(f"holds a run at {where}", where=str(out), allowed="--resume to go on, or another folder")
    run = _Run(task, recipe, states)
    run.restore(out)
    storage.write(out / "recipe.json", (recipe.model_dump_json(indent=2) + "\n").encode())
    log = curve.Curve(out / "curve.jsonl", run.step)
    with tracking(recipe.loop.mlflow, recipe, out) as tracker, _stop_requests() as stop:
        return _Loop(task, recipe.loop, run, out, log, tracker, watch).go(stop, minutes)


class _Run:
    """What a saved state holds: weights, their average, the optimiser, and the sums of the unfinished log line."""

    def __init__(self, task: Task, recipe: Recipe, states: States) -> None:
        self.step, self.skipped, self.seed = 0, 0, recipe.seed
        self.sums: dict[str, float] = {}
        self.count = 0
        self._task, self._recipe, self._states = task, recipe, states
        named = {f"{key}.{name}": p for key, m in task.modules().items() for name, p in m.named_parameters()}
        self.parameters = {name: p for name, p in named.items() if p.requires_grad}
        if not self.parameters:
            raise InputError("nothing to train", where=recipe.kind)
        settings = recipe.loop
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.average = Average(self.parameters, settings.average) if settings.average else None

    def save(self) -> Path:
        return self._states.save(
            self.step,
            {
                "weights": {name: parameter.detach() for name, parameter in self.parameters.items()},
                "buffers": self._buffers(),
                "average": self.average.weights if self.average else None,
                "optimiser": self.optimiser.state_dict(),
                "sums": dict(self.sums),
                "count": self.count,
                "skipped": self.skipped,
            },
        )

    @property
    def path(self) -> Path:
        """Where the state of this step is, once saved."""
        return self._states.path(self.step)

    @torch.no_grad()
    def restore(self, out: Path) -> None:
        """Take up the newest state that can be read, if there is any."""
        if self._states.steps():
            _check_same(self._recipe, out)
        for step in reversed(self._states.steps()):
            try:
                content = self._states.load(step)
            except CheckpointError:
                if step == self._states.steps()[0]:
                    raise
                continue
            break
        else:
            return
        shapes = {name: tuple(tensor.shape) for name, tensor in content["weights"].items()}
        if shapes != {name: tuple(parameter.shape) for name, parameter in self.parameters.items()}:
            raise CheckpointError("a state of other weights", where=str(self._states.path(step)))
        for name, parameter in self.parameters.items():
            parameter.copy_(content["weights"][name])
        for name, buffer in self._buffers().items():
            buffer.copy_(content["buffers"][name])
        if self.average:
            for name, kept in self.average.weights.items():
                kept.copy_((content["average"] or content["weights"])[name])
        self.optimiser.load_state_dict(content["optimiser"])
        for group in self.optimiser.param_groups:  # the loop's settings may have changed since
            group["betas"], group["weight_decay"] = self._recipe.loop.betas, self._recipe.loop.weight_decay
        self.sums, self.count = dict(content["sums"]), content["count"]
        self.step, self.skipped = step, content["skipped"]

    def _buffers(self) -> dict[str, Tensor]:
        """The buffers that belong to the weights."""
        found: dict[str, Tensor] = {}
        for key, module in self._task.modules().items():
            trained = {name for name, _ in module.named_parameters()}
            kept = module.state_dict()
            found |= {f"{key}.{name}": tensor for name, tensor in kept.items() if name not in trained}
        return found


class _Loop:
    """The steps of one call of `train`."""

    def __init__(
        self,
        task: Task,
        settings: LoopSettings,
        run: _Run,
        out: Path,
        log: curve.Curve,
        tracker: Tracking,
        watch: Watch,
    ) -> None:
        self._task, self._settings, self._run, self._out = task, settings, run, out
        self._log, self._tracker, self._watch = log, tracker, watch
        self._pace = 0.0
        self._saved = run.step if run.step else -1

    def go(self, stop: Callable[[], bool], minutes: float | None) -> Outcome:
        run, settings = self._run, self._settings
        deadline = time.monotonic() + 60 * minutes if minutes is not None else math.inf
        for module in self._task.modules().values():
            module.train()
        if run.step:
            self._tell(f"resumed at step {run.step}")
        with _Ahead(self._task.batch, settings.ahead, settings.steps * settings.accumulate) as batches:
            while run.step < settings.steps and not stop() and time.monotonic() < deadline:
                begun = time.monotonic()
                self._step(batches)
                passed = time.monotonic() - begun
                self._pace = passed if not self._pace else 0.98 * self._pace + 0.02 * passed
                self._after_step()
        state = self._save()
        finished = run.step >= settings.steps
        if finished and not (settings.preview_every and run.step % settings.preview_every == 0):
            self._preview()
        if finished:
            with self._presenting():
                self._task.export(self._out / "export")
        curve.draw(self._out / "curve.jsonl", self._out / "curve.png")
        return Outcome(run.step, finished, state)

    def _step(self, batches: _Ahead) -> None:
        """One move of the weights; none at all where a loss or a gradient is not finite."""
        run, settings = self._run, self._settings
        rate = learning_rate(settings, run.step)
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        losses: dict[str, float] = {}
        finite = True
        for part in range(settings.accumulate):
            index = run.step * settings.accumulate + part
            batch = batches.take(index)
            torch.manual_seed(step_seed(run.seed, index))
            with self._autocast():
                terms = self._task.loss(batch)
            for name, term in terms.items():
                losses[name] = losses.get(name, 0.0) + float(term.detach()) / settings.accumulate
            finite = math.isfinite(losses["loss"])
            if not finite:
                break
            (terms["loss"] / settings.accumulate).backward()
        norm = math.nan
        if finite:
            norm = float(nn.utils.clip_grad_norm_(run.parameters.values(), settings.clip))
        if not math.isfinite(norm):
            run.optimiser.zero_grad()
            self._refuse(index, "gradient" if finite else "loss")
        else:
            run.optimiser.step()
            run.optimiser.zero_grad()
            if run.average:
                run.average.update(run.step)
            for name, loss in (losses | {"norm": norm}).items():
                run.sums[name] = run.sums.get(name, 0.0) + loss
            run.count += 1
        run.step += 1

    def _refuse(self, index: int, what: str) -> None:
        """Leave this batch out, or stop where that is not allowed. The weights have not been touched."""
        batch = f"{self._task.describe(index)} (batch {index})"
        if self._run.skipped >= self._settings.skip_bad:
            state = self._save()
            advice = f"{state.name} is the state before it; --set loop.skip_bad=N leaves up to N such batches out"
            raise TrainingError(f"step {self._run.step}: the {what} of {batch} is not finite; {advice}")
        self._run.skipped += 1
        self._log.add({"step": self._run.step + 1, "left_out": batch})
        self._tell(f"left out {batch}: its {what} is not finite")

    def _after_step(self) -> None:
        run, settings = self._run, self._settings
        losses = {_term(name): total / run.count for name, total in run.sums.items()} if run.count else {}
        self._watch(Progress(run.step, settings.steps, self._pace, losses))
        if run.step % settings.log_every == 0 and run.count:
            rate = learning_rate(settings, run.step - 1)
            self._log.add({"step": run.step, **losses, "lr": rate, "seconds_per_step": round(self._pace, 4)})
            self._tracker.metrics(run.step, losses | {"lr": rate})
            run.sums, run.count = {}, 0
        if run.step % settings.save_every == 0:
            self._save()
        if settings.preview_every and run.step % settings.preview_every == 0:
            self._preview()

    def _save(self) -> Path:
        if self._saved != self._run.step:
            self._saved = self._run.step
            return self._run.save()
        return self._run.path

    def _preview(self) -> None:
        step = self._run.step
        folder = self._out / "previews" / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        with self._presenting():
            measured = dict(self._task.preview(folder, step))
        curve.draw(self._out / "curve.jsonl", self._out / "curve.png")
        if measured:
            self._log.add({"step": step, "preview": measured})
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
            finally:
                for module in modules:
                    module.train()

    def _autocast(self) -> Any:
        kind = torch.device(self._task.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self._settings.precision == "bfloat16")

    def _tell(self, text: str) -> None:
        self._watch(Progress(self._run.step, self._settings.steps, self._pace, {}, text))


def _check_same(recipe: Recipe, out: Path) -> None:
    """Refuse to go on with a run of other data or another architecture, and say in what they differ.

    The settings of the loop and of the loss may change on the way.
    """
    try:
        before = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(out / "recipe.json")) from None
    now = recipe.model_dump(mode="json")
    changed = sorted(name for name, _ in _leaves(before).items() ^ _leaves(now).items())
    if changed := sorted(set(changed)):
        what = f"holds a run of another recipe: {', '.join(changed)} changed"
        raise InputError(what, where=str(out), allowed="changes of `loop` and `loss`, or another folder")


def _leaves(content: Any, path: str = "") -> dict[str, str]:
    """The single values of a recipe by their dotted path, less those that may change."""
    if path.split(".", maxsplit=1)[0] in FREE or path in FREE:
        return {}
    if not isinstance(content, dict):
        return {path: json.dumps(content)}
    return {
        name: leaf
        for key, part in content.items()
        for name, leaf in _leaves(part, f"{path}.{key}" if path else key).items()
    }


def _term(name: str) -> str:
    """A term's name in the curve: losses begin with "loss"."""
    return name if name in ("loss", "norm") else f"loss_{name}"


def step_seed(seed: int, index: int) -> int:
    """The seed of torch's generators for batch `index`."""
    return int.from_bytes(hashlib.sha256(json.dumps([seed, index]).encode()).digest()[:7])


def learning_rate(settings: LoopSettings, step: int) -> float:
    """The rate of step `step`, counted from 0, whose rate is 0 where there is a warm-up (spec 05 section 3)."""
    peak, warmup, steps = settings.learning_rate, settings.warmup, settings.steps
    if step < warmup:
        return peak * step / warmup
    match settings.schedule:
        case "constant":
            return peak
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (steps - warmup))))
        case "linear":
            return peak * max(0.0, (steps - step) / (steps - warmup))
        case "constant_then_decay":
            tail = max(1.0, settings.decay_share * steps)
            return peak * min(1.0, max(0.0, (steps - step) / tail))


class _Ahead:
    """Batches in order, prepared by a thread while the device works."""

    def __init__(self, batch: Callable[[int], Any], count: int, total: int) -> None:
        self._batch, self._count, self._total = batch, count, total
        self._waiting: dict[int, Future[Any]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches") if count else None

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, index: int) -> Any:
        if self._pool is None:
            return self._batch(index)
        for wanted in range(index, min(index + self._count + 1, self._total)):
            if wanted not in self._waiting:
                self._waiting[wanted] = self._pool.submit(self._batch, wanted)
        return self._waiting.pop(index).result()


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether somebody asked to stop; a second ctrl-C interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hear(number: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in former:
        signal.signal(number, hear)
    try:
        yield asked.is_set
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
