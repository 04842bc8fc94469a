"""The options of sessions and runs, checked, with errors in the words of the Python API."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from acestep_flows.errors import InputError
from acestep_flows.graph.execution.cache import Mode
from acestep_flows.graph.language.wording import nearest, show
from acestep_flows.model.placement import Dtype, Placement, choose_placement
from acestep_flows.settings import Settings
from acestep_flows.storage import user_path
from acestep_flows.weights.choose import EMBEDDED, Weights, choose_weights

PLAIN_FUNCTION = "a plain function of one event; it may call loop.call_soon_threadsafe"
"""The callback that a run takes. It is called on the session's thread, where no coroutine of the caller can run."""

PARAMETER_OF = {"--checkpoint": "weights", "--lyric-vocab": "lyric_vocab", "--device": "device"}
"""The parameter of `Session` that each option of the command line is."""


def check_mode(mode: Any) -> Mode:
    """A cache mode.

    Raises:
        InputError: it is none.
    """
    if not isinstance(mode, str) or mode not in get_args(Mode):
        raise InputError(show(mode), where="cache", allowed=get_args(Mode))
    return mode  # type: ignore[return-value]  # checked above


def check_deadline(seconds: Any) -> float | None:
    """A deadline in seconds, or None for no deadline.

    Raises:
        InputError: it is no positive number.
    """
    if seconds is None:
        return None
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not seconds > 0 or not math.isfinite(seconds):
        raise InputError(show(seconds), where="deadline", allowed="more than 0 seconds, or None for no deadline")
    return float(seconds)


def check_progress(progress: Any) -> None:
    """Refuse a `progress` that would show nothing.

    Raises:
        InputError: it is neither a bool nor callable, or it is an `async` function, which nobody would await.
    """
    if not isinstance(progress, bool) and not callable(progress):
        raise InputError(show(progress), where="progress", allowed="True, False, or a function of one event")
    if inspect.iscoroutinefunction(progress) or inspect.iscoroutinefunction(type(progress).__call__):
        raise InputError("an async function", where="progress", allowed=PLAIN_FUNCTION)


def read_path(path: Any, where: str) -> Path:
    """A path option.

    Raises:
        InputError: it is no path.
    """
    if not isinstance(path, (str, PathLike)) or "\0" in str(path):
        raise InputError(show(path), where=where, allowed="a path")
    return user_path(path, where)


def read_names(names: Any, where: str) -> list[Any]:
    """An option that takes several names or paths; one alone is taken as a list of one.

    Raises:
        InputError: it is neither.
    """
    if isinstance(names, (str, PathLike)):
        return [names]
    if not isinstance(names, Iterable):
        raise InputError(show(names), where=where, allowed="a list")
    return list(names)


def merge_inputs(
    inputs: Mapping[str, Any] | None, named: Mapping[str, Any], declared: Mapping[str, Any], options: Mapping[str, bool]
) -> dict[str, Any]:
    """The inputs of a run, given in a map and by keyword.

    Args:
        declared: the inputs of the graph.
        options: the options of `Session.run` by name, and whether each is given.

    Raises:
        InputError: an input is given twice, or the keyword of an option is the name of an input as well.
    """
    if inputs is not None and not isinstance(inputs, Mapping):
        raise InputError(show(inputs), where="inputs", allowed="a map of inputs by name")
    mapped = dict(inputs or {})
    for name in mapped:
        if not isinstance(name, str):
            raise InputError(show(name), where="inputs", allowed="names of inputs")
    for name in named:
        if name in mapped:
            raise InputError("given twice", where=name, allowed="as a keyword or in inputs=, not both")
    for name, is_given in options.items():
        if is_given and name in declared and name not in mapped:
            what = "an option of the run and an input of the graph have this name"
            raise InputError(what, where=name, allowed=f"the input in inputs={{{name!r}: ...}}")
    return mapped | dict(named)


def pick_weights(weights: str | Path | None, lyric_vocab: str | Path | None, settings: Settings) -> Weights:
    """The weights of a session, as `choose_weights` picks them.

    Raises:
        InputError: an empty name, or a lyric vocabulary for the embedded model.
    """
    if weights is not None and not isinstance(weights, (str, Path)):
        raise InputError(show(weights), where="weights", allowed=f"a folder, {EMBEDDED!r} or None")
    with parameter_names():
        vocab = read_path(lyric_vocab, "lyric_vocab") if lyric_vocab is not None else None
        return choose_weights(settings, None if weights is None else str(weights), vocab)


def pick_placement(device: str, dtype: str, compile: bool) -> Placement:
    """Where, and how precisely, a session computes.

    Raises:
        InputError: the device is not there, or the dtype is none of ours.
    """
    dtypes = ("auto", *get_args(Dtype))
    if dtype not in dtypes:
        close = nearest(str(dtype), dtypes)
        hint = f", nearest {close!r}" if close else ""
        raise InputError(f"no dtype {str(dtype)!r}{hint}", where="dtype", allowed=dtypes)
    with parameter_names():
        return choose_placement(str(device), dtype, compile)


@contextmanager
def parameter_names() -> Iterator[None]:
    """Name the parameter of `Session` in errors that name an option of the command line."""
    try:
        yield
    except InputError as error:
        where = PARAMETER_OF.get(error.where, error.where)
        allowed = error.allowed.replace("--checkpoint DIR", "weights=DIR")
        InputError.__init__(error, error.what, where=where, allowed=allowed)
        raise
