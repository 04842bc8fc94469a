"""A checkpoint folder in the published layout, judged from its headers before anything is loaded.

    ace_step_transformer/  config.json, diffusion_pytorch_model.safetensors
    music_dcae_f8c8/       the same
    music_vocoder/         the same
    umt5-base/             config.json, model.safetensors, tokenizer.json
    lyric-vocab.json       optional here; the lyric tokenizer's vocabulary may lie elsewhere

Opening reads the configs and the safetensors headers, a few hundred kilobytes, and says of every missing, truncated
or mismatched file what was expected. Loading reads the tensors asked for and no others.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows.errors import CheckpointError
from acestep_flows.model.digests import FileDigests
from acestep_flows.model.extras import Extras, Kind
from acestep_flows.model.layout import (
    ALIASES,
    AUTOENCODER,
    CLASSES,
    LAYOUTS,
    TEXT_ENCODER,
    TRANSFORMER,
    VOCODER,
    Layout,
    class_name,
    is_optional,
)

if TYPE_CHECKING:
    from torch import Tensor

    from acestep_flows.model.placement import Dtype

PARTS = (TRANSFORMER, AUTOENCODER, VOCODER, TEXT_ENCODER)
LYRIC_VOCAB = "lyric-vocab"
"""The vocabulary under the name that `digest` knows it by."""

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
LYRIC_VOCAB_FILE = "lyric-vocab.json"
GET_IT = "`acestep-flows fetch` downloads the published model"

MAX_HEADER_BYTES = 100_000_000
MAX_NAMED = 3
"""How many tensors an error names of each kind before it only counts."""


def weights_file(part: str) -> str:
    """The name of a part's weights file."""
    return "model.safetensors" if part == TEXT_ENCODER else "diffusion_pytorch_model.safetensors"


def part_files(part: str) -> tuple[str, ...]:
    """The files a part must have; its digest covers them all."""
    tokenizer = (TOKENIZER,) if part == TEXT_ENCODER else ()
    return (CONFIG, weights_file(part), *tokenizer)


@dataclass(frozen=True)
class CheckpointPart:
    """One folder of the checkpoint: its config, and the names and shapes its weights file declares."""

    folder: Path
    config: Mapping[str, Any]
    weights: Path
    shapes: Layout
    stamp: tuple[int, int]


class Checkpoint:
    """A folder that has passed every check short of reading the weights. Make one with `open`.

    Attributes:
        root: the folder.
        extras: where adapters and control branches for it are found.
    """

    def __init__(
        self,
        root: Path,
        parts: Mapping[str, CheckpointPart],
        lyric_vocab: Path | None,
        digests: FileDigests,
        extras: Extras,
    ) -> None:
        self.root, self.extras = root, extras
        self._parts = dict(parts)
        self._lyric_vocab = lyric_vocab
        self._digests = digests

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
        """Check the folder `root` and open it.

        Args:
            root: the folder that holds the four parts.
            lyric_vocab: the lyric vocabulary; absent: `lyric-vocab.json` in `root`.
            cache: folder in which digests are remembered; absent: for this object's life only.
            extras: folders with adapters and control branches, searched after `root`.
            paths: whether adapters and control branches may also be given as paths.

        Raises:
            CheckpointError: a file is missing, truncated, unreadable, or not what its config implies.
        """
        root = Path(root)
        wanted = [root / part / file for part in PARTS for file in part_files(part)]
        if lyric_vocab is not None:
            wanted.append(Path(lyric_vocab))
        if not root.is_dir():
            raise CheckpointError(
                "no such folder", where=str(root), allowed=f"a folder with {_listed(PARTS)}; {GET_IT}"
            )
        missing = [file for file in wanted if not file.is_file()]
        if missing:
            names = [str(file.relative_to(root) if file.is_relative_to(root) else file) for file in missing]
            raise CheckpointError(
                f"no file {_listed(names)}", where=str(root), allowed=f"a complete checkpoint; {GET_IT}"
            )
        parts = {part: _open_part(root / part, part) for part in PARTS}
        default = root / LYRIC_VOCAB_FILE
        vocab = Path(lyric_vocab) if lyric_vocab is not None else default if default.is_file() else None
        if vocab:
            _check_vocab(vocab, parts[TRANSFORMER].config["lyric_encoder_vocab_size"])
        return cls(root, parts, vocab, FileDigests(cache and cache / "digests"), Extras((root, *extras), paths))

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.root)!r})"

    def config(self, part: str) -> Mapping[str, Any]:
        """The part's `config.json`."""
        return self._parts[part].config

    def shapes(self, part: str) -> Layout:
        """Name and shape of every tensor in the part's weights file."""
        return dict(self._parts[part].shapes)

    def file(self, part: str, name: str) -> Path:
        """Path of the file `name` in the part's folder."""
        return self._parts[part].folder / name

    @property
    def has_lyric_vocab(self) -> bool:
        """Whether there is a lyric vocabulary."""
        return self._lyric_vocab is not None

    @property
    def lyric_vocab(self) -> Path:
        """The lyric tokenizer's vocabulary.

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
        """Read tensors of a part, under their published names.

        On the CPU a tensor that already has `dtype` shares its memory with the file: processes that load the same
        weights share them, and they must not be written to.

        Args:
            names: the tensors wanted; absent: all.
            prefix: of those, only names that start with this, or with one of these.
            dtype: what they are converted to; the published files mix bfloat16 and float32.

        Raises:
            CheckpointError: a name the file does not have, or the file was changed since it was opened.
        """
        import torch
        from safetensors import safe_open

        opened = self._parts[part]
        chosen = [name for name in (opened.shapes if names is None else names) if name.startswith(prefix)]
        unknown = sorted(set(chosen) - set(opened.shapes))
        if unknown:
            raise CheckpointError(f"no tensor {_listed(unknown)}", where=str(opened.weights))
        if not opened.weights.is_file() or _stamp(opened.weights) != opened.stamp:
            raise CheckpointError("the file was changed since it was opened", where=str(opened.weights))
        with safe_open(opened.weights, framework="pt", device=device) as file:
            return {name: file.get_tensor(name).to(getattr(torch, dtype)) for name in chosen}

    def digest(self, part: str) -> str:
        """sha256 over the part's config and weights (and tokenizer); of the lyric vocabulary for `LYRIC_VOCAB`."""
        if part == LYRIC_VOCAB:
            return self._digests.sha256(self.lyric_vocab)
        folder = self._parts[part].folder
        files = [(name, self._digests.sha256(folder / name)) for name in part_files(part)]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()

    def extra_digest(self, kind: Kind, name: str) -> str:
        """sha256 over the files of an adapter or control branch."""
        found = self.extras.find(kind, name)
        files = sorted(file for file in found.iterdir() if file.is_file()) if found.is_dir() else [found]
        digests = [(file.name, self._digests.sha256(file)) for file in files]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _open_part(folder: Path, part: str) -> CheckpointPart:
    config = _read_config(folder / CONFIG, part)
    weights = folder / weights_file(part)
    shapes = _read_header(weights)
    try:
        expected = LAYOUTS[class_name(config)](config)
        _check_sizes(expected)
    except KeyError as error:
        raise CheckpointError(f"no entry {error}", where=str(folder / CONFIG)) from None
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"sizes that fit no {class_name(config)}: {error}", where=str(folder / CONFIG)) from None
    complaints = list(_compare(shapes, expected))
    if complaints:
        raise CheckpointError(
            "; ".join(complaints), where=str(weights), allowed=f"the tensors that {part}/{CONFIG} implies"
        )
    return CheckpointPart(folder, config, weights, shapes, _stamp(weights))


def _read_config(file: Path, part: str) -> Mapping[str, Any]:
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"not readable as JSON: {error}", where=str(file)) from None
    name = class_name(config) if isinstance(config, dict) else ""
    if name not in CLASSES[part]:
        raise CheckpointError(f"class {name!r}", where=str(file), allowed=" or ".join(CLASSES[part]))
    return dict(config)


def _read_header(file: Path) -> Layout:
    """Names and shapes from a safetensors header, having checked that the file is as long as the header says."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= MAX_HEADER_BYTES:
            raise CheckpointError("not a safetensors file", where=str(file))
        text = stream.read(length)
    if len(text) < length:
        raise CheckpointError(f"truncated: {size} bytes, the header alone has {8 + length}", where=str(file))
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
        expected = 8 + length + max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise CheckpointError("damaged: the safetensors header does not parse", where=str(file)) from None
    if size != expected:
        problem = "truncated" if size < expected else "too long"
        raise CheckpointError(f"{problem}: {size} bytes", where=str(file), allowed=f"{expected} bytes")
    return shapes


def _check_sizes(layout: Mapping[str, Sequence[object]]) -> None:
    for name, shape in layout.items():
        if not all(isinstance(size, int) and size > 0 for size in shape):
            raise ValueError(f"{name} would be {list(shape)}")


def _check_vocab(file: Path, size: int) -> None:
    """Refuse a vocabulary whose ids the lyric encoder's embedding has no rows for."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        ids = [*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])]
        largest = max(ids)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError("not a tokenizer file", where=str(file), allowed="a `tokenizers` JSON file") from None
    if largest >= size:
        raise CheckpointError(
            f"token ids up to {largest}", where=str(file), allowed=f"ids below {size}, the lyric encoder's vocabulary"
        )


def _compare(found: Layout, expected: Layout) -> Iterator[str]:
    missing = [name for name in expected if name not in found and not is_optional(name)]
    if missing:
        yield f"without {_listed(missing)}"
    extra = [name for name in found if name not in expected and name not in ALIASES]
    if extra:
        yield f"with unknown {_listed(extra)}"
    wrong = [
        f"{name} of shape {list(found[name])} in place of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if wrong:
        yield f"with {_listed(wrong)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_NAMED]) if len(names) > MAX_NAMED + 1 else ", ".join(names)
    return f"{shown} and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED + 1 else shown


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns
