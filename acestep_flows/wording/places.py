"""What a text names that is given where a file of this machine is wanted."""

from __future__ import annotations

import re
from pathlib import Path

from acestep_flows.errors import InputError

_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]{1,20}://")
_OUTPUT = re.compile(r"(run-[0-9a-f]{26})/.+")


def is_url(text: str) -> bool:
    """Whether a text is a URL of any scheme."""
    return _URL.match(text) is not None


def refuse_elsewhere(text: str, name: str) -> None:
    """Refuse what names no file of this machine: a URL, or an output of a run on a server.

    Args:
        name: the input that it is given for.

    Raises:
        InputError: it is one of these; says how to give it.
    """
    if is_url(text):
        allowed = "the path of a file; download it first"
        raise InputError(f"{text[:100]} is a URL, and nothing is downloaded", where=name, allowed=allowed)
    if (output := _OUTPUT.fullmatch(text)) is not None and not Path(text).exists():
        allowed = f"a file: acestep-flows fetch-output {output[1]} writes it; submit takes the output itself"
        raise InputError(f"{text[:100]} is the output of a run on a server", where=name, allowed=allowed)
