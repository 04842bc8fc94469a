"""What a file tells of a song, whoever wrote it: the graph, its inputs, and the files that these name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acestep_flows.errors import NotFound
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.library import Library
from acestep_flows.graph.records.graph_content import graph_scope
from acestep_flows.stages.registry import stages


@dataclass(frozen=True)
class FileInput:
    """An input that is not in the recipe itself: audio, latents and the like.

    Attributes:
        kind: of the value.
        digest: of the value; empty where the recipe has none.
        paths: where the file was or may be, the likeliest first; empty where the value came from no file.
    """

    kind: str
    digest: str = ""
    paths: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name; empty where it came from no file."""
        return Path(self.paths[0].replace("\\", "/")).name if self.paths else ""


@dataclass(frozen=True)
class StoredRecipe:
    """A recipe, read.

    Attributes:
        where: the file it was read from, for messages.
        graph: the name of its graph.
        inputs: of that graph, by name: JSON, spans, and a `FileInput` for every other value.
        digest: of the graph; empty where the recipe has none.
        content: the graph with those it nests; None for a shipped graph, which has only its name here.
        seeds: every seed in use, by node and parameter.
        latents: the digest of the song's latents, where it is known.
        take: which of several songs the file is, from 0; None where it is the only one, or nobody knows.
        song: the file with the song itself.
        sums: sha256 of each file as it was written, by name.
        warnings: what the recipe tells and we cannot take over.
        notes: what was told of tags and lyrics when the song was made.
    """

    where: str
    graph: str
    inputs: Mapping[str, Any]
    digest: str = ""
    content: Mapping[str, Any] | None = None
    seeds: Mapping[str, Any] = field(default_factory=dict)
    latents: str = ""
    take: int | None = None
    song: Path | None = None
    sums: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def scope(self, library: Library) -> Scope:
        """The recipe's own graph, checked.

        Raises:
            NotFound: the recipe has only a name, and there is no such graph.
            GraphError: the graph does not check with the stages of this version.
        """
        if self.content is not None:
            return graph_scope(self.content, self.where)
        try:
            return checked(library.load(self.graph), stages(), library.nested)
        except NotFound as error:
            raise NotFound(f"{self.where}: {error}") from None
