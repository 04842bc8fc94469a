"""The id of a row, and a file name for it that is safe whatever the id.

No id can lead out of a folder: letters, digits, dashes and underscores stay; everything else (slashes, dots, blanks,
other scripts) becomes an underscore, and a digest at the end keeps names apart that became the same.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from typing import Any

from acestep_flows.errors import InputError

MAX_ID = 500
MAX_STEM = 80
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MARKED = re.compile(r".*-[0-9a-f]{12}", re.DOTALL)
_OTHER = re.compile(r"[^a-z0-9_-]+")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def given_id(value: Any) -> str:
    """The id that a manifest gives: text, or a whole number.

    Raises:
        InputError: something else, empty, very long, or with control characters.
    """
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**60 else ""
    if not isinstance(value, str):
        raise InputError(f"a Python {type(value).__name__}", where="id", allowed="text or a whole number")
    if not 1 <= len(value) <= MAX_ID:
        what = f"{len(value)} characters" if value else "empty"
        raise InputError(what, where="id", allowed=f"1 to {MAX_ID} characters")
    if match := _CONTROL.search(value):
        raise InputError(f"character U+{ord(match[0]):04X}", where="id", allowed="text without control characters")
    return value


def stem(id: str) -> str:
    """A file name without extension: lower case, no dots (data set tools split names there), at most 80 characters.

    Different ids have different stems, also where upper and lower case are one.
    """
    if len(id) <= MAX_STEM and _PLAIN.fullmatch(id) and not _MARKED.fullmatch(id) and id not in _DEVICES:
        return id
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    readable = _OTHER.sub("_", id.lower()).lstrip("_-")[: MAX_STEM - 13].rstrip("_-")
    return f"{readable or 'row'}-{digest}"


def audio_folder(index: int, size: int) -> str:
    """The folder of a row's audio: `size` rows share one, so that no folder has too many files."""
    return f"{index // size:05d}"
