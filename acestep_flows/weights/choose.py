"""The choice of weights for a run: from the command line, the environment, the cache, or the package."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.embedded import NAME, NOTES, embedded_checkpoint
from acestep_flows.settings import CACHE, CHECKPOINT, Settings, read_settings
from acestep_flows.storage import open_to_others, user_path
from acestep_flows.weights import hub_cache
from acestep_flows.weights.hub import LYRIC_VOCAB, default_folder, installed, is_fetched

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint

log = logging.getLogger(__name__)

EMBEDDED = "embedded"
"""The value of --checkpoint for the small model inside the package."""

Origin = Literal["argument", "environment", "fetched", "embedded"]


@dataclass(frozen=True)
class Weights:
    """A choice of weights whose files are not yet checked.

    Attributes:
        origin: what decided the choice.
        folder: the checkpoint folder; None for the embedded model.
        lyric_vocab: the lyric vocabulary; None for the folder's own.
        cache: the cache folder of digests.
        name: the name in recipes, where it is not that of the folder.
    """

    origin: Origin
    folder: Path | None
    lyric_vocab: Path | None
    cache: Path
    name: str | None = None

    def __str__(self) -> str:
        if self.folder is None:
            return "acestep-nano, a small model trained on synthetic music (acestep-flows fetch gets the published one)"
        return str(self.folder)

    @property
    def model(self) -> str:
        """The name of these weights in recipes."""
        return self.name or (NAME if self.folder is None else self.folder.name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of these weights before they use them."""
        return NOTES if self.folder is None else ()

    def open(self) -> Checkpoint:
        """Check the files and open the checkpoint, without loading weights.

        Raises:
            CheckpointError: a file is missing, truncated, or does not fit its config.
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
    """The weights of a run: of the argument, else of the environment, else fetched, else embedded.

    Args:
        settings: the environment and the cache folder.
        checkpoint: a folder, a model on the hub as ORG/NAME that was fetched, or "embedded"; None where the command
            line names none.
        lyric_vocab: a lyric vocabulary in place of the folder's own.

    Raises:
        CheckpointError: the model on the hub is not on this machine. Nothing is downloaded here.
        InputError: the name is empty, or a lyric vocabulary is given for the embedded model, which has its own.
    """
    _tell_if_open(settings.cache)
    if checkpoint == "":
        raise InputError("empty", where="--checkpoint", allowed=f"a folder, or {EMBEDDED!r}")
    vocab = lyric_vocab or settings.lyric_vocab
    fetched = default_folder(settings.cache)
    if checkpoint is not None and hub_cache.NAME.fullmatch(checkpoint) and not Path(checkpoint).expanduser().is_dir():
        return _from_hub(settings, checkpoint, vocab)
    if checkpoint is not None and checkpoint != EMBEDDED:
        return Weights("argument", user_path(checkpoint, "--checkpoint").absolute(), vocab, settings.cache)
    if checkpoint is None and settings.checkpoint is not None:
        return Weights("environment", settings.checkpoint, vocab, settings.cache)
    if checkpoint is None and is_fetched(fetched):
        return Weights("fetched", fetched, vocab, settings.cache)
    if lyric_vocab is not None:
        # Ids of another vocabulary would exceed its embedding table.
        problem = "the embedded model has a vocabulary of its own"
        raise InputError(problem, where="--lyric-vocab", allowed="together with --checkpoint DIR")
    return Weights("embedded", None, None, settings.cache)


@cache
def _tell_if_open(folder: Path) -> None:
    """Warn, once per process, of a cache folder whose content others may change."""
    if fault := open_to_others(folder):
        log.warning("%s, and what is in this cache is trusted (chown, chmod o-w, or another %s)", fault, CACHE)


def open_named(name: Path, lyric_vocab: Path | None = None) -> Checkpoint:
    """The checkpoint that a training recipe names: a folder, "embedded", or a fetched model of the hub as ORG/NAME.

    Args:
        name: its name; a folder of that name goes first.
        lyric_vocab: a lyric vocabulary in place of the folder's own.

    Raises:
        CheckpointError: there is no such folder or model, or its files cannot be used.
        InputError: a lyric vocabulary is given for the embedded model, which has its own.
    """
    from acestep_flows.model.checkpoint import Checkpoint

    settings, text = read_settings(), str(name)
    if not name.is_dir() and text == EMBEDDED and lyric_vocab is not None:
        problem = "the embedded model has a vocabulary of its own"
        raise InputError(problem, where="lyric_vocab", allowed="together with a checkpoint folder")
    if not name.is_dir() and (text == EMBEDDED or _is_in_hub_cache(settings, text)):
        return choose_weights(settings, text, lyric_vocab).open()
    return Checkpoint.open(name, lyric_vocab, cache=settings.cache)


def _is_in_hub_cache(settings: Settings, repo: str) -> bool:
    return hub_cache.NAME.fullmatch(repo) is not None and installed(settings.cache, repo) is not None


def _from_hub(settings: Settings, repo: str, vocab: Path | None) -> Weights:
    """A model on the hub that is on this machine. Its lyric vocabulary is that of the published model."""
    folder = installed(settings.cache, repo)
    if folder is None:
        raise CheckpointError(
            f"no folder {repo!r}, and no model of that name on this machine",
            where="--checkpoint",
            allowed=f"a folder, {EMBEDDED!r}, or a model of the hub after: acestep-flows fetch {repo}",
        )
    fetched = default_folder(settings.cache) / LYRIC_VOCAB
    if vocab is None and not (folder / LYRIC_VOCAB).is_file() and fetched.is_file():
        vocab = fetched
    in_hub_cache = folder.parent.name == "snapshots"
    name = f"{repo.rpartition('/')[2]}-{folder.name[:8]}" if in_hub_cache else None
    return Weights("argument", folder, vocab, settings.cache, name)
