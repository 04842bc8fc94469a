"""The recipe in a file here, as the start of a run on a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from acestep_flows.graph.language.syntax import Graph
from acestep_flows.input_reader import InputReader
from acestep_flows.recipes.carry_over import CarriedOver, carry_over, seed_notes
from acestep_flows.recipes.read import read_recipe_file
from acestep_flows.recipes.sources import BY_INPUT, SourceFinder
from acestep_flows.recipes.stored_recipe import FileInput, StoredRecipe
from acestep_flows.values import Span, Value

ASSET = "asset:"
"""What the recipes of a server put before the id of an asset, in place of a path."""


@dataclass(frozen=True)
class RecipeInputs:
    """A recipe from a file here, for a run on a server.

    Attributes:
        recipe: as it was read.
        sources: more folders with files that it names.
    """

    recipe: StoredRecipe
    sources: Sequence[Path] = ()

    @classmethod
    def read(cls, file: Path, sources: Sequence[Path]) -> RecipeInputs:
        """The recipe in `file`.

        Raises:
            InputError: the file cannot be read, or has no recipe.
        """
        return cls(read_recipe_file(file), sources)

    @property
    def graph(self) -> str:
        """The name of its graph."""
        return self.recipe.graph

    def completed(self, graph: Graph, given: Mapping[str, Any], *, again: bool) -> tuple[dict[str, Any], CarriedOver]:
        """The given inputs, and those of the recipe that are not given; and what it gave, for `tell`.

        Files that it names become paths, which the client uploads. Assets that a server's recipe names stay assets.

        Raises:
            InputError: a file that the recipe names is missing or has changed.
        """
        carried = carry_over(self.recipe, graph, given.keys(), again=again)
        if not again:
            carried.notes += seed_notes(self.recipe, graph, given)
        named = {name: _as_assets(content) for name, content in carried.inputs.items()}
        reader = InputReader()
        finder = SourceFinder(reader, Path(self.recipe.where).parent, self.sources, advice=BY_INPUT)
        filled = {name: _as_sent(content, reader.files) for name, content in finder.inputs(named).items()}
        return {**filled, **given}, carried

    def tell(self, graph: Graph, carried: CarriedOver) -> None:
        """Say on stderr what the recipe gave, and what was not taken over."""
        for line in carried.lines(self.recipe):
            click.echo(f"warning: {self.recipe.where}: {line}", err=True)
        click.echo(f"from {self.recipe.where}: {graph.name} with {carried.taken}", err=True)


def _as_sent(content: Any, files: Mapping[str, str]) -> Any:
    """An input as the client sends it: values as the paths of their files, spans as JSON."""
    if isinstance(content, Span):
        return {"start": content.start, "end": content.end}
    if isinstance(content, Value):
        return Path(files[content.digest]).expanduser()
    if isinstance(content, Mapping):
        return {name: _as_sent(part, files) for name, part in content.items()}
    return [_as_sent(part, files) for part in content] if isinstance(content, list) else content


def _as_assets(content: Any) -> Any:
    """An input of a recipe, with the ids of assets in place of files that a server read from them."""
    if isinstance(content, FileInput):
        ids = [path.removeprefix(ASSET) for path in content.paths if path.startswith(ASSET)]
        return ids[0] if ids else content
    if isinstance(content, Mapping):
        return {name: _as_assets(part) for name, part in content.items()}
    return [_as_assets(part) for part in content] if isinstance(content, list) else content
