"""Which files stand in the folder of a data set: those of one division of the job, so that every row is there once.

A job may be made whole at one time and in parts at another, and as often as not in the same folder. New files are
written to a hidden folder and moved from there. While another division has its files in the folder, those of an
incomplete one wait; once all its parts are written, they take the place of the others. A reader, or a process that is
killed between two files, may find rows missing for a moment, and never twice; the next call puts the rest in place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.errors import StorageError

FOLDER = "dataset"
WAITING = ".dataset"
"""Where files wait. Hidden, and beside the data set, because tools read every file below that."""

_CONTENTS = re.compile(r"\.train(?:-\d+-of-(\d+))?\.json")


@dataclass(frozen=True)
class PartFiles:
    """What a part of a job has written.

    Attributes:
        digest: of its rows.
        files: their names, whether they stand in the folder or wait.
    """

    digest: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """The hidden file in the data set that says what one part of a job has written.

    Attributes:
        job_folder: of the job.
        name: of the file.
    """

    job_folder: JobFolder
    name: str

    @property
    def of(self) -> int:
        """The number of parts in its division."""
        match = _CONTENTS.fullmatch(self.name)
        return int(match[1] or 1) if match else 1

    def read(self) -> PartFiles:
        """What was written; nothing, where the file is missing or damaged."""
        try:
            content = json.loads(self.job_folder.read(f"{FOLDER}/{self.name}") or b"{}")
        except (StorageError, ValueError):
            return PartFiles()
        if not isinstance(content, dict) or not {"digest", "files"} <= content.keys():
            return PartFiles()
        return PartFiles(content["digest"], tuple(content["files"]))

    def write(self, digest: str, files: Iterable[str]) -> None:
        """Say what was written. Raises StorageError."""
        self.job_folder.write(f"{FOLDER}/{self.name}", json.dumps({"digest": digest, "files": list(files)}).encode())

    def delete(self) -> None:
        """Forget the part. Raises StorageError."""
        self.job_folder.delete(f"{FOLDER}/{self.name}")


def show(job_folder: JobFolder, of: int, *, can_wait: bool = True) -> bool:
    """Put what a division of a job has written in the folder, unless it must wait; whether it stands there.

    Args:
        job_folder: of the job.
        of: the number of parts in the division.
        can_wait: False: its files may stand beside those of other divisions, as every song has the same names in all.

    Raises:
        StorageError: files cannot be moved or removed.
    """
    contents = list(_contents(job_folder))
    own = [part for part in contents if part.of == of]
    others = [part for part in contents if part.of != of]
    own_files = {name for part in own for name in part.read().files}
    foreign = {name for part in others for name in part.read().files} - own_files
    visible, waiting = set(job_folder.names(FOLDER)), set(job_folder.names(WAITING))
    if len(own) >= of:
        remove(job_folder, foreign)
        for part in others:
            part.delete()
    elif can_wait and foreign & visible:
        for name in sorted(own_files & visible):  # 0.1.0 put them beside those of the others
            if name in waiting:
                job_folder.delete(f"{FOLDER}/{name}")
            else:
                job_folder.move(f"{FOLDER}/{name}", f"{WAITING}/{name}")
        return False
    for name in sorted(own_files & waiting):
        job_folder.move(f"{WAITING}/{name}", f"{FOLDER}/{name}")
    return True


def remove(job_folder: JobFolder, files: Collection[str]) -> None:
    """Remove files by their names, whether they stand in the folder or wait. Raises StorageError."""
    for folder in (FOLDER, WAITING):
        for name in sorted({*files} & {*job_folder.names(folder)}):
            job_folder.delete(f"{folder}/{name}")


def _contents(job_folder: JobFolder) -> Iterator[Contents]:
    for name in job_folder.names(FOLDER, hidden=True):
        if _CONTENTS.fullmatch(name):
            yield Contents(job_folder, name)
