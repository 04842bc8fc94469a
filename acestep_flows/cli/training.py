"""The `train` command."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acestep_flows.cli.command_log import CommandLog, log_format_option
from acestep_flows.cli.options import DEVICE
from acestep_flows.cli.terminal import INTERRUPTED
from acestep_flows.wording.log_lines import LogFormat

if TYPE_CHECKING:
    from acestep_flows.training.loop.loop import TrainingProgress

KINDS = ("diffusion", "lora", "control", "autoencoder", "decoder")
PLAIN_SECONDS = 30.0
"""Time between lines where output is no terminal."""


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("recipe")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the run.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value: loop.steps=100.")
@click.option("--resume", is_flag=True, help="Go on from the newest state in --out, if there is one.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop after this long, with the state saved.")
@click.option("--device", type=DEVICE, default="auto", show_default=True, help="cpu, cuda, cuda:N, mps.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that share the batches of a step (loop.accumulate), one GPU each if available.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@log_format_option
def train(log_format: LogFormat, **options: Any) -> None:
    """Train KIND by RECIPE, a YAML file or the name of one that comes with the package.

    Ctrl-C saves the state and stops; the same command with --resume goes on. The result is in OUT/export.
    """
    log = CommandLog("train", log_format)
    with log.formatted():
        _train(log, **options)


def _train(
    log: CommandLog,
    kind: str,
    recipe: str,
    out: Path,
    assignments: tuple[str, ...],
    resume: bool,
    minutes: float | None,
    device: str,
    workers: int,
    quiet: bool,
) -> None:
    # Threads that wait by spinning stall each other where the machine is shared: measured, five times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported, below

    from acestep_flows.model.placement import choose_placement
    from acestep_flows.training.loop import loop
    from acestep_flows.training.loop.recipe import KINDS as MODULES
    from acestep_flows.training.loop.recipe import load_recipe

    chosen = load_recipe(recipe, assignments, kind)
    place = choose_placement(device, "float32", False).device
    if workers > 1:
        from acestep_flows.training.loop import train_ray

        with show_training(quiet, log) as watch:
            outcome = train_ray.train(chosen, out, workers, device=place, resume=resume, minutes=minutes, watch=watch)
    else:
        task: Any = importlib.import_module(MODULES[kind]).build(chosen, place)
        with getattr(task, "ready", nullcontext)(), show_training(quiet, log) as watch:
            outcome = loop.train(task, chosen, out, resume=resume, minutes=minutes, watch=watch)
    if outcome.finished:
        click.echo(out / "export")
        if kind == "lora" and not quiet:
            log.tell(f"use it: --set adapter={shlex.quote(str(out / 'export'))}")
        return
    log.warn(f"stopped after step {outcome.step}; --resume goes on from {outcome.state}")
    if minutes is None:
        raise click.exceptions.Exit(INTERRUPTED)


@contextmanager
def show_training(quiet: bool, log: CommandLog) -> Iterator[Callable[[TrainingProgress], None]]:
    """A watch that shows a training run: a bar on a terminal, else a line every half minute."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty() and not log.is_json:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = [TextColumn("step {task.completed} of {task.total}"), BarColumn(), TextColumn("{task.fields[text]}")]
        with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task("train", total=None, text="")

            def show(progress: TrainingProgress) -> None:
                if progress.text:
                    bars.console.print(progress.text, markup=False, highlight=False)
                else:
                    bars.update(bar, completed=progress.step, total=progress.steps, text=_line(progress))

            yield show
    else:
        yield _PlainTraining(log).show


class _PlainTraining:
    """A line every half minute."""

    def __init__(self, log: CommandLog) -> None:
        self._log, self._last = log, 0.0

    def show(self, progress: TrainingProgress) -> None:
        now = time.monotonic()
        if progress.text:
            self._log.tell(progress.text)
        elif now - self._last >= PLAIN_SECONDS or progress.step == progress.steps:
            self._last = now
            figures: dict[str, Any] = {"step": progress.step, "steps": progress.steps, "losses": dict(progress.losses)}
            line = f"step {progress.step} of {progress.steps}: {_line(progress)}"
            self._log.tell(line, **figures, seconds_per_step=round(progress.seconds_per_step, 4))


def _line(progress: TrainingProgress) -> str:
    losses = ", ".join(f"{name} {value:.4f}" for name, value in progress.losses.items())
    return f"{losses}, {progress.seconds_per_step:.2f} s/step"
