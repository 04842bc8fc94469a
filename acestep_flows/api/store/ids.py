"""The form of ids, and the error for one that does not exist. `rows.new_id` makes ids."""

from __future__ import annotations

import re

from acestep_flows.errors import NotFound

_ID = re.compile(r"[a-z]+-[0-9a-f]{26}")
_EXAMPLE = "0661777f2a3b4c5d6e7f809a1b"


def is_id(prefix: str, text: str) -> bool:
    """Whether a text has the form of an id of this kind, such as `run`."""
    return text.startswith(f"{prefix}-") and _ID.fullmatch(text) is not None


def id_form(prefix: str) -> str:
    """The form of an id in words."""
    return f"an id such as {prefix}-{_EXAMPLE}"


def no_such(prefix: str, id: str, where: str = "") -> NotFound:
    """The error for an id that does not exist. It shows the form of an id unless the id has it.

    Args:
        where: the field that named it; empty for the path of a request, whose parameter is `id`.
    """
    what, field = f"no {prefix} {id[:60]!r}", where or "id"
    if is_id(prefix, id):
        return NotFound(what, where=where, field=field)
    form = f"{prefix}-{_EXAMPLE}"
    return NotFound(f"{what}; ids look like {form}", where=where, allowed=id_form(prefix), field=field)
