"""Which pool a server starts: the one that was asked for, or the one that suits the machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from acestep_flows.api.server.options import ServerOptions
from acestep_flows.runtime.serving.pool import AUTO, Pool
from acestep_flows.runtime.serving.room import check_room, offered_gpus, rehearsed
from acestep_flows.runtime.serving.suited_pool import machine_with, memory_warning, serving_pool, with_choices
from acestep_flows.settings import Settings
from acestep_flows.weights.choose import choose_weights


@dataclass(frozen=True)
class PoolChoice:
    """A pool to start.

    Attributes:
        pool: the pool.
        gpus: how many GPUs a Ray of the server's own gives away.
        lines: what is told about it and the weights.
    """

    pool: Pool
    gpus: int
    lines: tuple[str, ...]


def chosen_pool(options: ServerOptions, settings: Settings) -> PoolChoice:
    """The pool of a server.

    Raises:
        InputError: there is none of that name, it is not usable, or it has no room on this machine.
        CheckpointError: the weights are not usable.
    """
    machine, notes = machine_with(options.device)
    named = None if options.pool == AUTO else Pool.read(options.pool)
    vocab = None if named is None or named.lyric_vocab is None else Path(named.lyric_vocab)
    weights = choose_weights(settings, options.checkpoint or (named.checkpoint if named is not None else None), vocab)
    checkpoint = weights.open()
    asked = with_choices(
        named if named is not None else serving_pool(checkpoint, machine), options.checkpoint, options.dtype
    )
    pool, gpus, room_notes = _with_room(asked, options, offered_gpus(asked, machine))
    warning = memory_warning(pool, checkpoint) if options.ray is None else None
    return PoolChoice(
        pool,
        gpus,
        (
            f"weights: {weights}",
            f"pool: {pool.name}: {pool.summary}" if pool.summary else f"pool: {pool.name}",
            *notes,
            *room_notes,
            *([f"warning: {warning}"] if warning else []),
        ),
    )


def _with_room(pool: Pool, options: ServerOptions, gpus: int) -> tuple[Pool, int, list[str]]:
    """A pool as it is started, the GPUs that Ray gives away, and lines about both.

    Args:
        gpus: how many this machine has for it.
    """
    lines: list[str] = []
    if options.ray is not None:
        return pool, 0, lines  # its cluster is asked when it is joined
    if options.rehearse:
        pool, gpus = rehearsed(pool)
        lines = [f"a rehearsal: networks compute on the processor, and Ray counts {gpus} GPUs that are not there"]
    return pool, gpus, [*lines, *(f"warning: {warning}" for warning in check_room(pool, gpus))]
