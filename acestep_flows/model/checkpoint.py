"""A checkpoint folder in the published layout. Its headers are checked before anything is loaded.

    ace_step_transformer/  config.json, diffusion_pytorch_model.safetensors
    music_dcae_f8c8/       the same
    music_vocoder/         the same
    umt5-base/             config.json, model.safetensors, tokenizer.json
    lyric-vocab.json       optional: the lyric tokenizer's vocabulary may be elsewhere

Opening reads the configs and the safetensors headers, a few hundred kilobytes. An error for a missing, truncated or
mismatched file says what was expected. Loading reads only the requested tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows.errors import CheckpointError
from acestep_flows.model.checkpoint_part import CheckpointPart, check_vocab, file_stamp, list_names, read_part
from acestep_flows.model.digests import FileDigests
from acestep_flows.model.extras import Extras, Kind
from acestep_flows.model.layout import AUTOENCODER, TEXT_ENCODER, TRANSFORMER, VOCODER, Layout

if TYPE_CHECKING:
    from torch import Tensor

    from acestep_flows.model.placement import Dtype

PARTS = (TRANSFORMER, AUTOENCODER, VOCODER, TEXT_ENCODER)
LYRIC_VOCAB = "lyric-vocab"
"""The name of the lyric vocabulary for `Checkpoint.digest`."""

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
LYRIC_VOCAB_FILE = "lyric-vocab.json"
CHANGED = "the file was changed since it was opened"
RUN_AGAIN = "the same files; run it again"
OPEN_AGAIN = "the same content; start again to use the new one"
FETCH_HINT = "`acestep-flows fetch` downloads the published model"


def weights_file(part: str) -> str:
    """The name of a part's weights file."""
    return "model.safetensors" if part == TEXT_ENCODER else "diffusion_pytorch_model.safetensors"


def part_files(part: str) -> tuple[str, ...]:
    """The names of the files a part must have. Its digest covers them all."""
    tokenizer = (TOKENIZER,) if part == TEXT_ENCODER else ()
    return (CONFIG, weights_file(part), *tokenizer)


class Checkpoint:
    """A checkpoint folder whose configs and headers are checked. Make one with `open`.

    Attributes:
        root: the folder.
        extras: the folders of adapters and control branches for this checkpoint.
        cache: folder for what can be made again; None: there is none.
    """

    def __init__(
        self,
        root: Path,
        parts: Mapping[str, CheckpointPart],
        lyric_vocab: Path | None,
        digests: FileDigests,
        extras: Extras,
        cache: Path | None = None,
    ) -> None:
        self.root, self.extras, self.cache = root, extras, cache
        self._parts = dict(parts)
        self._lyric_vocab = lyric_vocab
        self._digests = digests
        self._promised: dict[str, str] = {}

    @classmethod
    def open(
        cls,
        root: Path | str,
        lyric_vocab: Path | str | None = None,
        *,
        cache: Path | None = None,
        extras: Sequence[Path] = (),
        paths: bool = True,
    ) -> Checkpoint:
        """Check the folder `root` and open it, without reading weights.

        Args:
            root: the folder that holds the four parts.
            lyric_vocab: the lyric vocabulary; by default `lyric-vocab.json` in `root`.
            cache: folder for digests of files and for compiled code; by default digests are kept by this object alone.
            extras: folders with adapters and control branches, searched after `root`.
            paths: whether adapters and control branches may also be named by path.

        Raises:
            CheckpointError: a file is missing, truncated, unreadable, or does not fit its config.
        """
        root = Path(root)
        vocab = Path(lyric_vocab) if lyric_vocab is not None else None
        _check_files(root, vocab)
        parts = {part: read_part(root / part / CONFIG, root / part / weights_file(part), part) for part in PARTS}
        if vocab is None and (root / LYRIC_VOCAB_FILE).is_file():
            vocab = root / LYRIC_VOCAB_FILE
        if vocab:
            check_vocab(vocab, parts[TRANSFORMER].config["lyric_encoder_vocab_size"])
        return cls(root, parts, vocab, FileDigests(cache and cache / "digests"), Extras((root, *extras), paths), cache)

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.root)!r})"

    def config(self, part: str) -> Mapping[str, Any]:
        """The part's `config.json`."""
        return self._parts[part].config

    def shapes(self, part: str) -> Layout:
        """Name and shape of every tensor in the part's weights file."""
        return dict(self._parts[part].shapes)

    def file(self, part: str, name: str) -> Path:
        """Path of the file `name` in the folder of `part`."""
        return self._parts[part].folder / name

    @property
    def has_lyric_vocab(self) -> bool:
        """Whether a lyric vocabulary was given or is in the folder."""
        return self._lyric_vocab is not None

    @property
    def lyric_vocab(self) -> Path:
        """Path of the lyric tokenizer's vocabulary.

        Raises:
            CheckpointError: none was given and the folder has none.
        """
        if self._lyric_vocab is None:
            raise CheckpointError(
                "no lyric vocabulary",
                where=str(self.root / LYRIC_VOCAB_FILE),
                allowed="the upstream project's vocabulary; `acestep-flows fetch` downloads it",
            )
        return self._lyric_vocab

    def load(
        self,
        part: str,
        names: Collection[str] | None = None,
        *,
        prefix: str | tuple[str, ...] = "",
        dtype: Dtype = "float32",
        device: str = "cpu",
    ) -> dict[str, Tensor]:
        """Read tensors of a part, by their published names.

        On the CPU a tensor that already has `dtype` shares its memory with the file, so processes that load the same
        weights share them. Such tensors must not be written to.

        Args:
            names: the tensors to read; by default all.
            prefix: reads only those of the names that start with this prefix, or with one of several.
            dtype: dtype of the result; the published files mix bfloat16 and float32.

        Raises:
            CheckpointError: the file lacks a name, or was changed since the checkpoint was opened.
        """
        import torch
        from safetensors import safe_open

        opened = self._parts[part]
        chosen = [name for name in (opened.shapes if names is None else names) if name.startswith(prefix)]
        unknown = sorted(set(chosen) - set(opened.shapes))
        if unknown:
            raise CheckpointError(f"no tensor {list_names(unknown)}", where=str(opened.weights))
        if not opened.weights.is_file() or self._changed(part):
            raise CheckpointError(CHANGED, where=str(opened.weights), allowed=OPEN_AGAIN)
        with safe_open(opened.weights, framework="pt", device=device) as file:
            return {name: file.get_tensor(name).to(getattr(torch, dtype)) for name in chosen}

    def digest(self, part: str) -> str:
        """sha256 over the config, weights and tokenizer of `part`; for `LYRIC_VOCAB`, of the lyric vocabulary.

        Raises:
            CheckpointError: the content has changed since this was first asked. Networks that are loaded by now have
                the content of before, and what they make must not be taken for what the new content makes.
        """
        digest = self._digest(part)
        if self._promised.setdefault(part, digest) != digest:
            where = self.lyric_vocab if part == LYRIC_VOCAB else self._parts[part].folder
            raise CheckpointError(CHANGED, where=str(where), allowed=OPEN_AGAIN)
        return digest

    def _digest(self, part: str) -> str:
        if part == LYRIC_VOCAB:
            return self._digests.sha256(self.lyric_vocab)
        folder = self._parts[part].folder
        files = [(name, self._digests.sha256(folder / name)) for name in part_files(part)]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()

    def _changed(self, part: str) -> bool:
        """Whether a part has other content than when it was opened, or than that of which the digest was told."""
        opened, stamp = self._parts[part], file_stamp(self._parts[part].weights)
        if stamp == opened.stamp:
            return False
        if part in self._promised:
            return self._promised[part] != self._digest(part)
        return stamp[:-1] != opened.stamp[:-1]  # the last time also changes with a name, an owner or a hard link

    def extra_digest(self, kind: Kind, name: str) -> str:
        """sha256 over the files of an adapter or control branch; the errors are those of `Extras.find`."""
        extra = self.extras.find(kind, name)
        if extra.is_dir():
            files = sorted(file for file in extra.iterdir() if file.is_file())
        else:  # the settings beside an adapter's file hold its scaling
            files = [extra, *filter(Path.is_file, [extra.with_name("adapter_config.json")])]
        digests = [(file.name, self._digests.sha256(file)) for file in files]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()

    def check_extra(self, kind: Kind, name: str, digest: str) -> None:
        """Check, after an adapter or control branch was read, that its files still have the digest from before.

        Raises:
            CheckpointError: they were changed, so what was read may be of either content.
        """
        if self.extra_digest(kind, name) != digest:
            where = str(self.extras.find(kind, name))
            raise CheckpointError("the files were changed while they were read", where=where, allowed=RUN_AGAIN)


def _check_files(root: Path, lyric_vocab: Path | None) -> None:
    """Refuse a folder that lacks a file of a part, and a lyric vocabulary that does not exist."""
    required = [root / part / file for part in PARTS for file in part_files(part)]
    if lyric_vocab is not None:
        required.append(lyric_vocab)
    if not root.is_dir():
        raise CheckpointError(
            "no such folder", where=str(root), allowed=f"a folder with {list_names(PARTS)}; {FETCH_HINT}"
        )
    missing = [file for file in required if not file.is_file()]
    if missing:
        names = [str(file.relative_to(root) if file.is_relative_to(root) else file) for file in missing]
        raise CheckpointError(
            f"no file {list_names(names)}", where=str(root), allowed=f"a complete checkpoint; {FETCH_HINT}"
        )
