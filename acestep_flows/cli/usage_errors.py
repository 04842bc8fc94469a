"""Wrong options and arguments, told as every other error: one line that begins with `error:`."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click

from acestep_flows.cli.helping import EXAMPLES
from acestep_flows.errors import FlowsError
from acestep_flows.wording.phrases import between, clip, listing, nearest, no_such

_REFUSED = re.compile(r"(.+?) is not (?:a valid|in the range|one of)", re.DOTALL)
_WRONG_PLACE = re.compile(r"(?:File|Directory) ('.*') is a (directory|file)", re.DOTALL)
_ABSENT = re.compile(r"File ('.*') does not exist", re.DOTALL)
_QUOTED = re.compile(r"'(.*)'", re.DOTALL)
_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)
_METAVAR_MARKS = re.compile(r"^\[|\[=.*|\.\.\.$|\]$")
_CURLY = re.compile("[\u201c\u201d\u2018\u2019\u201e]")

SONGS = (".wav", ".flac", ".mp3", ".ogg", ".json")
"""Endings of what --from reads."""
DRY_RUN = "--dry-run"


class ErrorLine(click.ClickException):
    """An error shown in the style of all errors."""

    def show(self, file: IO[Any] | None = None) -> None:
        text = "".join(letter if letter.isprintable() else " " for letter in self.message)
        click.echo(f"error: {text}", file=file, err=file is None)


class UsageLine(ErrorLine):
    """A wrong option or argument."""

    exit_code = 2


def one_line(error: click.ClickException) -> click.ClickException:
    """The error in our words and without click's lines of usage; a bare command still shows its help."""
    if isinstance(error, (click.exceptions.NoArgsIsHelpError, ErrorLine)):
        return error
    return UsageLine(_words(error)) if error.exit_code == UsageLine.exit_code else ErrorLine(_words(error))


def _words(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        return _unknown_option(error)
    if isinstance(error, click.BadOptionUsage) and "requires" in error.message:
        return f"{error.option_name}: missing its value"
    if isinstance(error, click.MissingParameter):
        return f"{_label(error)}: missing{_allowed(error.param)}{_as_in_example(error.ctx)}"
    if isinstance(error, click.BadParameter):
        return f"{_label(error)}: {_refusal(error)}"
    message = error.format_message().rstrip(".")
    if isinstance(error, click.UsageError):
        if extra := _EXTRA.fullmatch(message):
            return _unexpected(extra[1], error.ctx)
        command = error.ctx.command if error.ctx is not None else None
        if message.startswith("No such command") and isinstance(command, click.Group):
            return _unknown_command(message.split("'")[1], command, error.ctx)
    return message[:1].lower() + message[1:]


def _as_in_example(context: click.Context | None) -> str:
    path = context.command_path.partition(" ")[2] if context is not None else ""
    return f"; such as `acestep-flows {EXAMPLES[path]}`" if path in EXAMPLES else ""


def _unknown_command(name: str, group: click.Group, context: click.Context | None) -> str:
    is_root = context is None or context.parent is None
    if is_root and (group_name := _group_of(name, group)):
        return f"no command {clip(name)!r}; there is `acestep-flows {group_name} {name}`"
    meant = _meant_graph(name, group) if is_root or group.name == "graph" else None
    if meant is not None:
        which = "it is a graph" if meant == name else f"nearest the graph {meant!r}"
        return (
            f"no command {clip(name)!r}, {which}: `acestep-flows run {meant}` runs it, "
            f"`acestep-flows graph show {meant}` shows its inputs"
        )
    allowed = "; `acestep-flows help` lists the commands" if is_root else f" (allowed: {listing(group.commands)})"
    return f"{no_such('command', name, group.commands)}{allowed}"


def _group_of(name: str, group: click.Group) -> str:
    """The group that has a command of this name; empty if none has."""
    groups = ((key, one) for key, one in group.commands.items() if isinstance(one, click.Group))
    return next((key for key, one in groups if name in one.commands), "")


def _meant_graph(name: str, group: click.Group) -> str | None:
    """The graph of this name, or the nearest one where no command is near."""
    from acestep_flows.graph.library import Library

    graphs = Library().names()
    if name in graphs:
        return name
    return None if nearest(name, group.commands) else nearest(name, graphs)


def _meant_input(name: str) -> str:
    """The input of this name that a graph has, or the one that is meant by it in most; empty if there is none."""
    from acestep_flows.graph.library import Library

    try:
        declared = [one for graph in Library().graphs().values() for one in graph.inputs.values()]
    except (FlowsError, OSError):  # a folder of graphs that cannot be read is told by what reads it
        return ""
    if any(name == one.name for one in declared):
        return name
    meant = Counter(one.name for one in declared if name in one.similar)
    return max(meant, key=meant.__getitem__, default="")


def _takes_inputs(context: click.Context | None) -> bool:
    """Whether the command takes inputs of a graph with --set."""
    params = context.command.params if context is not None else []
    return any(param.name == "assignments" and "NAME=VALUE" in str(getattr(param, "metavar", "")) for param in params)


def _options(context: click.Context | None) -> set[str]:
    params = context.command.params if context is not None else []
    return {option for param in params for option in param.opts}


def _unknown_option(error: click.NoSuchOption) -> str:
    name = error.option_name
    close = _near_options(name, error.possibilities or [])
    hint = f", nearest {' or '.join(map(repr, close))}" if close else ""
    if len(name) == 2:  # click reads the letters behind one dash one by one
        return f"no option {name!r}; names of options have two dashes, such as --help"
    if name == "--from":
        return "no option '--from' here; run, graph plan and submit have it"
    if name == "--audio" and "--format" in _options(error.ctx):
        return "no option '--audio' here; --format is the kind of audio files"
    if _takes_inputs(error.ctx) and name.startswith("--"):
        hint = _instead(name, hint)
    return f"no option {clip(name)!r}{hint}"


def _instead(name: str, near: str) -> str:
    """What to give in place of an option that a command with inputs does not have: an input, or options near it."""
    word = name.removeprefix("--").replace("-", "_")
    if meant := _meant_input(word):
        return f"; inputs are given as --set {meant}=VALUE"
    if name == DRY_RUN:
        return "; `acestep-flows graph plan` shows what a run would compute"
    return f"{near or '; --help lists the options'}; inputs are given as --set NAME=VALUE"


def _near_options(name: str, possible: Sequence[str]) -> list[str]:
    """The options that are probably meant: the nearest one, and one that `name` is the beginning of."""
    close = nearest(name, possible)
    begun = [one for one in possible if one.startswith(name)]
    return list(dict.fromkeys([*([close] if close else []), *begun]))


def _unexpected(arguments: str, context: click.Context | None) -> str:
    first = arguments.split(" ", maxsplit=1)[0]
    if _CURLY.search(arguments):
        return f"unexpected argument {clip(arguments)!r}; quotes must be straight (\" or ') for the shell to see them"
    if context is not None and context.command.name == "graphs":
        return f"unexpected argument {clip(arguments)!r}; `acestep-flows graph show {clip(first)}` shows a graph"
    if _takes_inputs(context) and "=" not in first and first.lower().endswith(SONGS) and "--from" in _options(context):
        return f"unexpected argument {clip(arguments)!r}; a song to start from is given as --from {clip(arguments)}"
    if _takes_inputs(context):
        how = f"--set {clip(arguments)}" if "=" in first else "--set NAME=VALUE, in quotes where VALUE has blanks"
        return f"unexpected argument {clip(arguments)!r}; inputs are given as {how}"
    return f"unexpected argument {clip(arguments)!r}"


def _label(error: click.BadParameter) -> str:
    """The option or argument, without the quotes that click puts around it."""
    if isinstance(error.param, click.Argument):
        return _METAVAR_MARKS.sub("", error.param.metavar or str(error.param.name).upper())
    hint = error.param_hint or ""
    if not hint and error.param is not None:
        hint = error.param.opts[-1]
    names = hint if isinstance(hint, str) else " / ".join(hint)
    return names.replace("'", "") or "argument"


def _refusal(error: click.BadParameter) -> str:
    """The value, and what is allowed."""
    message = error.message.rstrip(".")
    found, allowed = _REFUSED.match(message), _allowed(error.param)
    if place := _WRONG_PLACE.match(message):
        is_folder = place[2] == "directory"
        return f"{place[1]} is a {'folder' if is_folder else 'file'} (allowed: a {'file' if is_folder else 'folder'})"
    if absent := _ABSENT.match(message):
        return f"no file {absent[1]}{_with_ending(absent[1][1:-1])}"
    if found is None or not allowed:
        return message[:1].lower() + message[1:]
    quoted = _QUOTED.fullmatch(found[1])
    shown = quoted[1] if quoted else found[1]
    kind = error.param.type if error.param is not None else None
    close = nearest(shown, map(str, kind.choices)) if isinstance(kind, click.Choice) else None
    return f"{repr(clip(shown)) if quoted else clip(shown)}{f', nearest {close!r}' if close else ''}{allowed}"


def _with_ending(path: str) -> str:
    """The file that is called so but for its ending; empty if there is not exactly one that --from may read."""
    with contextlib.suppress(OSError, ValueError):
        stem = Path(path)
        beside = [one for one in stem.parent.iterdir() if one.stem == stem.name and one.suffix.lower() in SONGS]
        songs = [one for one in beside if one.suffix.lower() != ".json"] or beside
        if len(songs) == 1:
            return f"; there is {str(songs[0])!r}"
    return ""


def _allowed(param: click.Parameter | None) -> str:
    """What a parameter takes, in brackets; empty where its type does not tell."""
    kind = param.type if param is not None else None
    if isinstance(kind, click.Choice):
        return f" (allowed: {listing(map(str, kind.choices))})"
    noun = "a whole number" if kind is click.INT or isinstance(kind, click.IntRange) else "a number"
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        low = f"more than {kind.min:g}" if kind.min is not None and kind.min_open else ""
        bounds = low or between(kind.min, kind.max)
        return f" (allowed: {noun}{f', {bounds}' if bounds else ''})"
    return f" (allowed: {noun})" if kind in (click.INT, click.FLOAT) else ""
