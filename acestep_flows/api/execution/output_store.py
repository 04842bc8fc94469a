"""Where the outputs of runs are stored, and by whom.

Files of an object store are written by the processes that have the values, and only their digests come here. A folder
is of this machine, so this process writes there. It also does where the pool's processes cannot reach the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from acestep_flows.api.execution.encode_outputs import UnplacedFile, encodings, write_outputs
from acestep_flows.api.execution.store_outputs import (
    StoredOutputs,
    leaves_with_recipe,
    store_outputs,
    stored_outputs,
)
from acestep_flows.api.execution.store_threads import StoreThreads
from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.errors import FlowsError, InputError
from acestep_flows.graph.execution.runner import Runner
from acestep_flows.graph.records.recipe import Recipe
from acestep_flows.outputs import audio_tag_recipe, output_leaves

log = logging.getLogger(__name__)

REST_SECONDS = 60.0
"""How long this process writes before others, which could not, are asked again."""


class OutputStore:
    """Stores the outputs of runs. For one event loop.

    Args:
        runner: has the values.
        artifacts: where they are stored.
        threads: for what this process writes.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        runner: Runner,
        artifacts: Artifacts,
        threads: StoreThreads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._artifacts, self._threads, self._clock = runner, artifacts, threads, clock
        self._rests_until = 0.0
        self._warned = False

    async def store(self, outputs: Mapping[str, Any], recipe: Recipe, format: str, stem: str) -> StoredOutputs:
        """Store the outputs of a run: the same files, whoever writes them.

        Args:
            outputs: by name, with handles of the runner in the place of values.
            recipe, format, stem: as `store_outputs` takes them.

        Raises:
            StorageError: they cannot be written; Unavailable while the store cannot be reached.
            InputError: audio that the format cannot hold.
            LostProcess: a value is lost.
        """
        place = self._artifacts.unfinished_elsewhere
        if place is None or self._clock() < self._rests_until:
            return await self._store_here(outputs, recipe, format, stem)
        recipe_json = recipe.as_json()
        leaves = leaves_with_recipe(outputs, recipe_json)
        items = [{"name": name, "content": leaf.content} for name, leaf in leaves.items()]
        tag_recipe = audio_tag_recipe(recipe_json)
        try:
            files = await self._runner.apply(write_outputs, items, place, stem, format, tag_recipe)
        except InputError:
            raise
        except FlowsError as error:
            await self._threads.call(self._artifacts.check)  # if the store is away, it is so for all
            stored = await self._store_here(outputs, recipe, format, stem)
            self._rest(error)
            return stored
        self._warned = False
        await self._threads.call(self._artifacts.keep_all, [(file.path, file.blob) for file in files])
        own = {leaf.name for leaf in output_leaves(outputs)}
        warnings = _in_order(files, [name in own for name in leaves])
        return stored_outputs(leaves, [(file.file, file.blob) for file in files], warnings, stem)

    async def _store_here(self, outputs: Mapping[str, Any], recipe: Recipe, format: str, stem: str) -> StoredOutputs:
        values = await self._runner.fetch(dict(outputs))
        return await self._threads.call(
            store_outputs, values, recipe, artifacts=self._artifacts, format=format, stem=stem, kept=encodings
        )

    def _rest(self, error: FlowsError) -> None:
        """Let this process write for a while."""
        self._rests_until = self._clock() + REST_SECONDS
        if not self._warned:
            needs = "processes of the pool need its keys in their environment"
            log.warning("%s; the server itself writes outputs to the artifact store, %s", error, needs)
        self._warned = True


def _in_order(files: list[UnplacedFile], counts: list[bool]) -> list[str]:
    """The warnings of the files that count, each once."""
    told = [warning for file, count in zip(files, counts, strict=True) if count for warning in file.warnings]
    return list(dict.fromkeys(told))
