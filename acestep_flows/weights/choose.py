"""Which weights to use where several may lie about, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.embedded import NAME, embedded_checkpoint
from acestep_flows.settings import CHECKPOINT, Settings
from acestep_flows.weights.hub import default_folder, is_fetched

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint

EMBEDDED = "embedded"
"""What --checkpoint takes, besides a folder: the small model inside the package."""

Origin = Literal["argument", "environment", "fetched", "embedded"]


@dataclass(frozen=True)
class Weights:
    """A choice of weights, not yet looked at. `folder` is None for the embedded ones."""

    origin: Origin
    folder: Path | None
    lyric_vocab: Path | None
    cache: Path

    def __str__(self) -> str:
        if self.folder is None:
            return "acestep-nano, a small model taught by synthetic music (acestep-flows fetch gets the published one)"
        return str(self.folder)

    @property
    def model(self) -> str:
        """What recipes call these weights."""
        return NAME if self.folder is None else self.folder.name

    def open(self) -> Checkpoint:
        """The checkpoint, its files checked, nothing loaded.

        Raises:
            CheckpointError: a file is missing, truncated or not the one expected.
        """
        from acestep_flows.model.checkpoint import Checkpoint

        if self.folder is None:
            return Checkpoint.open(embedded_checkpoint(), cache=self.cache)
        if not self.folder.is_dir():
            where = {"argument": "--checkpoint", "environment": CHECKPOINT}.get(self.origin, "checkpoint")
            raise CheckpointError(
                f"no folder {self.folder}", where=where, allowed=f"a folder with the published layout, or {EMBEDDED!r}"
            )
        return Checkpoint.open(self.folder, lyric_vocab=self.lyric_vocab, cache=self.cache)


def choose_weights(settings: Settings, checkpoint: str | None = None, lyric_vocab: Path | None = None) -> Weights:
    """The weights of a run: those given, else those the environment names, else those fetched, else the embedded.

    Raises:
        InputError: an empty name; a lyric vocabulary for the embedded model, which has one of its own.
    """
    if checkpoint == "":
        raise InputError("empty", where="--checkpoint", allowed=f"a folder, or {EMBEDDED!r}")
    vocab = lyric_vocab or settings.lyric_vocab
    fetched = default_folder(settings.cache)
    if checkpoint is not None and checkpoint != EMBEDDED:
        return Weights("argument", Path(checkpoint).expanduser().absolute(), vocab, settings.cache)
    if checkpoint is None and settings.checkpoint is not None:
        return Weights("environment", settings.checkpoint, vocab, settings.cache)
    if checkpoint is None and is_fetched(fetched):
        return Weights("fetched", fetched, vocab, settings.cache)
    if lyric_vocab is not None:
        # The ids of another vocabulary would lie beyond its embedding table.
        what = "the embedded model has a vocabulary of its own"
        raise InputError(what, where="--lyric-vocab", allowed="together with --checkpoint DIR")
    return Weights("embedded", None, None, settings.cache)
