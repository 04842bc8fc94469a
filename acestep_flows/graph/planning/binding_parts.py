"""Parts of a binding: the field of a record, and the form that music has, audio or latents."""

from __future__ import annotations

from collections.abc import Mapping

from acestep_flows.errors import InputError
from acestep_flows.graph.language.syntax import Reference
from acestep_flows.graph.planning.plan import Binding, Fallback, NodeOutput
from acestep_flows.values import MUSIC_KINDS, Value


def form_of(music: Binding, kind: str, where: str) -> Binding:
    """The music if it has the form `kind`, audio or latents, else None.

    Raises:
        InputError: its form is not known before the run.
    """
    if music is None:
        return None
    if isinstance(music, Fallback):
        forms = tuple(form_of(option, kind, where) for option in music.options)
        return None if all(form is None for form in forms) else Fallback(forms)
    if isinstance(music, (Value, NodeOutput)) and music.kind in MUSIC_KINDS:
        return music if music.kind == kind else None
    raise InputError("whether it is audio or latents is known only during the run", where=where, allowed="one of both")


def field_of(record: Binding, name: str, reference: Reference, node: str) -> Binding:
    """The field `name` of a record that `reference` in `node` asks for.

    Raises:
        InputError: there is no record, or a node computes it.
    """
    if isinstance(record, Mapping):
        return record.get(name)
    if record is None:
        raise InputError(f"{reference} asks for a field of nothing", where=f"node {node}", allowed="a record")
    raise InputError(f"{reference} asks for a field of what a node computes", where=f"node {node}", allowed="an input")
