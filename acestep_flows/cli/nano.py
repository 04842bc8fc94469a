"""`python -m acestep_flows.cli.nano --out build/nano`: train acestep-nano from nothing, or go on with it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from acestep_flows.cli.command_log import CommandLog
from acestep_flows.cli.options import DEVICE
from acestep_flows.cli.terminal import INTERRUPTED
from acestep_flows.cli.training import show_training
from acestep_flows.errors import Cancelled, FlowsError


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the work.")
@click.option("--device", type=DEVICE, default="auto", show_default=True, help="cpu, cuda, cuda:N, mps.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that encode songs.")
@click.option("--set", "assignments", multiple=True, metavar="STEP.KEY=VALUE", help="As diffusion.loop.steps=100.")
def main(out: Path, device: str, workers: int, assignments: tuple[str, ...]) -> None:
    """Train acestep-nano from nothing: autoencoder, decoder, transformer, adapter and control branches.

    Ctrl-C saves the state; the same command goes on. The checkpoint is in OUT/nano.
    """
    changes: dict[str, list[str]] = {}
    for assignment in assignments:
        step, dot, rest = assignment.partition(".")
        if not dot:
            raise click.BadParameter(f"{assignment!r} is not of the form STEP.KEY=VALUE", param_hint="--set")
        changes.setdefault(step, []).append(rest)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported, below
    try:
        from acestep_flows.model.placement import choose_placement
        from acestep_flows.training.nano.pipeline import Making, make

        place = choose_placement(device, "float32", False).device
        with show_training(False, CommandLog()) as watch:
            click.echo(make(Making(out, place, changes, workers, watch, lambda text: click.echo(text, err=True))))
    except Cancelled as stopped:
        click.echo(str(stopped), err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except FlowsError as error:
        click.echo(f"error: {error}", err=True)
        raise click.exceptions.Exit(1) from None
    except KeyboardInterrupt:  # between two steps, or a second time
        click.echo("stopped; the same command goes on", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
