"""Paths in URLs of file systems, such as `s3://bucket/songs/list.csv?region=eu-west-1`."""

from __future__ import annotations

import posixpath
from urllib.parse import quote

from acestep_flows.errors import InputError


def url_parent(url: str) -> str:
    """The folder of a file, with the options of the URL."""
    scheme, path, options = _split(url)
    return f"{scheme}://{posixpath.dirname(path.rstrip('/'))}{options}"


def url_below(folder: str, path: str, where: str) -> str:
    """The URL of a file in a folder.

    Args:
        folder: a URL.
        path: relative, not escaped.
        where: what names the file, in errors.

    Raises:
        InputError: the path leads out of the folder's file system.
    """
    scheme, start, options = _split(folder)
    whole = posixpath.normpath(posixpath.join(start, quote(path)))
    if whole in ("", ".") or whole.startswith(".."):
        raise InputError(f"{path[:200]!r} leads out of {scheme}://{start}", where=where, allowed="a path below it")
    return f"{scheme}://{whole}{options}"


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, path (host or bucket included) and options with their question mark."""
    scheme, _, rest = url.partition("://")
    path, mark, options = rest.partition("?")
    return scheme, path, mark + options
