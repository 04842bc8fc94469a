"""The form of ids, and the error for one that does not exist. `rows.new_id` makes ids."""

from __future__ import annotations

import re

from acestep_flows.errors import NotFound

_ID = re.compile(r"[a-z]+-[0-9a-f]{26}")
_OUTPUT = re.compile(r"(?:^|/)(run-[0-9a-f]{26})/.")
_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]{0,20}://")
_UPLOAD = "in Python give a Path, to submit NAME=@FILE; POST /v1/assets takes a file and gives its id"
"""How a file is given at the doors to a server."""

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
    hint = _way_to_id(id) if prefix == "asset" and where else ""
    return NotFound(f"{what}; ids look like {form}{hint}", where=where, allowed=f"{id_form(prefix)}{hint}", field=field)


def _way_to_id(text: str) -> str:
    """How to get the id of an asset for what a text names: a run, an output of it, or music somewhere else."""
    if is_id("run", text):
        here = f"one of its outputs has its id in the field asset of GET /v1/runs/{text}"
        return f'; that is a run: {here}; in Python give run.outputs["audio"], to submit NAME=RUN/audio'
    if (output := _OUTPUT.search(text)) is not None:
        here = f"its field asset in GET /v1/runs/{output[1]}"
        return f"; that of an output is {here}; in Python give the run's Output, to submit NAME=RUN/OUTPUT"
    if _URL.match(text):
        return f"; nothing is fetched from a URL, but {_UPLOAD}"
    return f"; {_UPLOAD}"
