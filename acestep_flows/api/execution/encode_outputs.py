"""Outputs of a run as files of an object store, written by whichever process has their values.

Those processes need neither the run table nor its database: the server gives the files their places (`output_store`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from acestep_flows.api.store.records import Blob
from acestep_flows.audio.kept_encodings import KeptEncodings
from acestep_flows.outputs import OutputFile, encode_output, leaf_warnings

encodings = KeptEncodings()
"""Audio that this process has encoded. A song that is asked for again comes to the process that made it."""


class FileWriter(Protocol):
    """Writes files that have no place yet, as `UnfinishedFiles` does."""

    def write(self, content: bytes) -> str:
        """Write a file. Returns its path."""


@dataclass(frozen=True)
class UnplacedFile:
    """An output that is written and has no place yet.

    Attributes:
        file: what it is, without its content.
        blob: its digest and size.
        path: where it is.
        warnings: of the output itself (`leaf_warnings`).
    """

    file: OutputFile
    blob: Blob
    path: str
    warnings: tuple[str, ...]


def write_outputs(
    leaves: Sequence[Mapping[str, Any]], place: FileWriter, stem: str, format: str, recipe: Mapping[str, Any]
) -> list[UnplacedFile]:
    """Encode leaves of the outputs of one run, and write each.

    Args:
        leaves: each as `name` and `content`, a value or JSON.
        place: where to.
        stem: of file names and titles.
        format: of audio.
        recipe: for the tags of audio (`audio_tag_recipe`).

    Raises:
        InputError: audio that the format cannot hold.
        StorageError: they cannot be written.
    """
    return [_written(leaf["name"], leaf["content"], place, stem, format, recipe) for leaf in leaves]


def _written(
    name: str, content: Any, place: FileWriter, stem: str, format: str, recipe: Mapping[str, Any]
) -> UnplacedFile:
    file = encode_output(content, f"{stem}-{name}", format, recipe, encodings)
    blob = Blob(hashlib.sha256(file.content).hexdigest(), len(file.content))
    path = place.write(file.content)
    return UnplacedFile(replace(file, content=b""), blob, path, tuple(leaf_warnings(name, content)))
