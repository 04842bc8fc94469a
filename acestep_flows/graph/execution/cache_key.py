"""What the calls of one run depend on, weights included."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acestep_flows.graph.content import fingerprint, sha256
from acestep_flows.graph.execution.runner import Runner
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.stages.contract import Stage

KEY_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Everything a result depends on; its digest is the cache key. What differs tells why a replay differs."""

    stage: str
    version: int
    weights: tuple[str, ...]
    params: str
    inputs: Mapping[str, Any]
    numerics: str

    @property
    def digest(self) -> str:
        """sha256 over the fields."""
        fields = [self.stage, self.version, self.weights, self.params, self.inputs, self.numerics]
        return sha256([KEY_SCHEMA, *fields])


def cache_key(call: StageCall, weights: tuple[str, ...], numerics: str) -> CacheKey:
    """What the result of a call depends on."""
    stage = call.stage
    inputs = {name: fingerprint(content) for name, content in call.inputs.items()}
    return CacheKey(stage.name, stage.version, weights, sha256(call.params.model_dump(mode="json")), inputs, numerics)


class CacheKeys:
    """Identities of calls. Weights are looked up once per stage: a run sees them as they stand when it begins."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._choosers: dict[type[Stage], bool] = {}
        self._weights: dict[Any, asyncio.Future[tuple[str, ...]]] = {}

    async def of(self, call: StageCall) -> CacheKey:
        """What the call's result depends on; raises CheckpointError where a weights file cannot be read."""
        return cache_key(call, await self._weights_of(call), self._runner.numerics(call.stage))

    async def _weights_of(self, call: StageCall) -> tuple[str, ...]:
        stage = call.stage
        own = self._chooses(stage)
        if not own and not stage.parts:
            return ()
        which = (stage, call.params.model_dump_json()) if own else stage
        if which not in self._weights:
            self._weights[which] = asyncio.ensure_future(self._runner.weights(stage, call.params))
        known = self._weights[which]
        return known.result() if known.done() else await asyncio.shield(known)

    def _chooses(self, stage: type[Stage]) -> bool:
        """Whether the stage has a `weights` of its own: only such a one (adapters) looks at the parameters."""
        if stage not in self._choosers:
            own, inherited = (inspect.getattr_static(kind, "weights") for kind in (stage, Stage))
            self._choosers[stage] = own is not inherited
        return self._choosers[stage]
