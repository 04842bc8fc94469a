"""A table of fields, and the song that a request becomes by it.

A row says what a client may send under a name, and what becomes of it: an input of the graph, a change of the draft, a
warning, or a refusal. Nothing that was sent goes under: a row without an end is not possible, and fields without a row
are told in a warning, or refused where the interface does so.

A value that a client does not send is the model's own. One that it sends is used, and where the model's config has
another one of its own, a warning tells so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.parsing import Parse, anything, is_absent
from acestep_flows.compat.refusal import Refusal
from acestep_flows.errors import InputError
from acestep_flows.wording.phrases import show

SONG_TAGS = "song"
"""The tags of a song for which a client gave lyrics and no tags; tags may not be empty."""

INSTRUMENTAL = "[inst]"
"""Lyrics that ask for an instrumental."""

PUBLISHED_SAMPLING: Mapping[str, Any] = {
    "guidance": "apg",
    "guidance_scale": 15.0,
    "guidance_interval": 0.5,
    "erg_tag": True,
    "erg_lyric": True,
    "erg_diffusion": True,
}
"""What models without settings of their own take for the options that a model's config may set."""


@dataclass(frozen=True)
class SongRequest:
    """What a request asks for, as the server accepts it.

    Attributes:
        graph: name of the graph.
        inputs: its inputs by name; assets by id.
        warnings: what was done otherwise than asked, one line for each field.
        format: of audio outputs.
        labels: of the run.
        fields: the client's name for each input, for errors.
    """

    graph: str
    inputs: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    format: str = "flac"
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    def in_client_words(self, error: InputError) -> InputError:
        """An error about an input as one about the field that the client sent for it."""
        faults = [
            Refusal(self.fields[name], self.inputs.get(name), fault.allowed, fault.what)
            if (name := fault.field) in self.fields
            else fault
            for fault in error.faults or (error,)
        ]
        return InputError.of_several(faults)


@dataclass
class Draft:
    """A song while fields are read into it.

    Attributes:
        graph: name of the graph; rows may change it.
        model: the model that will make the song.
        inputs: of the graph by name.
        values: every value that was sent, by the first name of its row.
        fields: the client's name for each input that it sent.
        files: ids of assets that came with the request, by the name of their field.
        strict: whether fields without a row are refused; else they are told.
    """

    graph: str = "text2music"
    model: ModelCard = field(default_factory=ModelCard)
    inputs: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    format: str = "flac"
    strict: bool = False

    def warn(self, name: str, value: Any, done: str) -> None:
        """Tell what was done with a field."""
        if (line := f"{name}={shown(value)}: {done}") not in self.warnings:
            self.warnings.append(line)

    def put(self, input: str, value: Any, field: str = "") -> None:
        """Set an input of the graph.

        Args:
            field: the client's name for it, where it sent one.
        """
        self.inputs[input] = value
        if field:
            self.fields[input] = field

    def song(self) -> SongRequest:
        """The request. Warnings about values beside the model's own are added."""
        for input, (own, name) in self._beside_own().items():
            self.warn(name, self.inputs[input], f"used; this model's own value is {shown(own)}")
        return SongRequest(
            self.graph, dict(self.inputs), tuple(self.warnings), self.format, dict(self.labels), dict(self.fields)
        )

    def _beside_own(self) -> dict[str, tuple[Any, str]]:
        own = {
            name: value
            for name, value in self.model.sampling.items()
            if name in PUBLISHED_SAMPLING and value != PUBLISHED_SAMPLING[name]
        }
        return {
            name: (value, self.fields[name])
            for name, value in own.items()
            if name in self.fields and self.inputs.get(name) != value
        }


Becomes = Callable[[Draft, Any], None]
"""Changes a draft by a value."""


@dataclass(frozen=True)
class FieldRow:
    """One field of an interface.

    Attributes:
        name: as clients write it, and as messages name it.
        parse: reads a value.
        becomes: name of an input of the graph; or a function that changes the draft. "" keeps the value in
            `Draft.values` alone, for code that joins several fields.
        aliases: further names. The first one that was sent is taken.
        default: a value that is nothing special when it is sent: no warning, no refusal, no input.
        required: whether the key must be there, with a value that is not null.
        ignored: told when the value is not the default: what this server does instead.
        refused: told when the value is not the default: what would be done.
    """

    name: str
    parse: Parse = field(default_factory=anything)
    becomes: str | Becomes = ""
    aliases: tuple[str, ...] = ()
    default: Any = None
    required: bool = False
    ignored: str = ""
    refused: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def allowed(self) -> str:
        """What a value may be, as the parser says it."""
        try:
            self.parse(None)
        except ValueError as error:
            return str(error)
        return "a value"

    def sent(self, fields: Mapping[str, Any]) -> tuple[str, Any] | None:
        """The name and value that were sent; None if neither the name nor an alias has a value."""
        return next(((name, fields[name]) for name in self.names if not is_absent(fields.get(name))), None)

    def read(self, name: str, value: Any) -> Any:
        """The value.

        Raises:
            Refusal: it is not usable.
        """
        try:
            return self.parse(value)
        except ValueError as error:
            raise Refusal(name, value, str(error)) from None

    def apply(self, draft: Draft, name: str, value: Any) -> None:
        """Let a value that was read change the draft.

        Raises:
            Refusal: this server does not do that.
        """
        draft.values[self.name] = value
        if self.default is not None and value == self.default and (self.ignored or self.refused or not self.becomes):
            return
        if self.refused:
            raise Refusal(name, value, self.refused, f"{show(value)} is not done here")
        if self.ignored:
            draft.warn(name, value, self.ignored)
        elif isinstance(self.becomes, str):
            if self.becomes:
                draft.put(self.becomes, value, name)
        else:
            self.becomes(draft, value)


def ignored(
    name: str, done: str, default: Any = None, *, parse: Parse | None = None, aliases: Sequence[str] = ()
) -> FieldRow:
    """A row whose values change nothing, which is told unless it is the default."""
    return FieldRow(name, parse or anything(), aliases=tuple(aliases), default=default, ignored=done)


def refused(
    name: str, allowed: str, default: Any = None, *, parse: Parse | None = None, aliases: Sequence[str] = ()
) -> FieldRow:
    """A row whose values are refused unless it is the default."""
    return FieldRow(name, parse or anything(), aliases=tuple(aliases), default=default, refused=allowed)


def translate(table: Sequence[FieldRow], fields: Mapping[str, Any], draft: Draft) -> Draft:
    """Read the fields of a request into a draft, by the rows of a table and in their order.

    Raises:
        InputError: fields are missing, not usable or not known; all of them at once, each as a `Refusal`.
    """
    faults = list(_unknown(table, fields)) if draft.strict else []
    for row in table:
        if row.required and all(fields.get(name) is None for name in row.names):
            faults.append(Refusal(row.name, None, row.allowed, "missing", kind="missing"))
            continue
        if (sent := row.sent(fields)) is None:
            continue
        try:
            row.apply(draft, sent[0], row.read(*sent))
        except Refusal as fault:
            faults.append(fault)
    if faults:
        raise InputError.of_several(faults)
    if not draft.strict:
        for unknown in _unknown(table, fields):
            draft.warn(unknown.field, unknown.value, "not known here, ignored")
    return draft


def _unknown(table: Sequence[FieldRow], fields: Mapping[str, Any]) -> Iterator[Refusal]:
    known = [name for row in table for name in row.names]
    for name, value in fields.items():
        if name not in known:
            yield Refusal(name, value, known, "no such field")


def shown(value: Any) -> str:
    """A value in a warning: whole numbers without a fraction, as clients write them."""
    return show(int(value) if isinstance(value, float) and value.is_integer() else value)


def settle_words(draft: Draft, prompt: str, lyrics: str) -> None:
    """See to the tags: they may not be empty. Lyrics alone get the tags "song", which is told.

    Args:
        prompt, lyrics: the client's names of the two, for messages.

    Raises:
        Refusal: there are neither tags nor lyrics.
    """
    if not is_absent(draft.inputs.get("tags")):
        return
    if is_absent(draft.inputs.get("lyrics")):
        raise Refusal(prompt, draft.inputs.get("tags"), f"tags, or {lyrics}", "neither tags nor lyrics", kind="missing")
    draft.put("tags", SONG_TAGS)
    draft.warn(prompt, "", f"no tags were given; {SONG_TAGS!r} is used")


def settle_seeds(draft: Draft, found: Sequence[int | None], field: str) -> None:
    """Set the seeds of a song; several make one take each (`batch-takes`). None draws one."""
    if len(found) > 1:
        draft.graph = "batch-takes"
        draft.put("seeds", ["random" if seed is None else seed for seed in found], field)
    elif found and found[0] is not None:
        draft.put("seed", found[0], field)
