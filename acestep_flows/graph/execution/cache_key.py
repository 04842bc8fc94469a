"""Cache keys: what the result of a call depends on, weights included."""

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
    """Everything a result depends on; its digest is the key. Fields that differ tell why a replay differs."""

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
    """The cache key of a call."""
    stage = call.stage
    inputs = {name: fingerprint(content) for name, content in call.inputs.items()}
    return CacheKey(stage.name, stage.version, weights, sha256(call.params.key_content()), inputs, numerics)


class CacheKeys:
    """Makes the cache keys of one run. Weights are digested once per stage, so that a run sees the same all along."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._by_params: dict[type[Stage], bool] = {}
        self._weights: dict[Any, asyncio.Future[tuple[str, ...]]] = {}

    async def of(self, call: StageCall) -> CacheKey:
        """The cache key of a call; raises CheckpointError where a weights file cannot be read."""
        return cache_key(call, await self._weights_of(call), self._runner.numerics(call.stage))

    async def _weights_of(self, call: StageCall) -> tuple[str, ...]:
        stage = call.stage
        by_params = self._depend_on_params(stage)
        if not by_params and not stage.parts:
            return ()
        which = (stage, call.params.model_dump_json()) if by_params else stage
        if which not in self._weights:
            self._weights[which] = asyncio.ensure_future(self._runner.weights(stage, call.params))
        digests = self._weights[which]
        return digests.result() if digests.done() else await asyncio.shield(digests)

    def _depend_on_params(self, stage: type[Stage]) -> bool:
        """Whether the stage has a `weights` of its own: only such a one (adapters) looks at the parameters."""
        if stage not in self._by_params:
            own, inherited = (inspect.getattr_static(kind, "weights") for kind in (stage, Stage))
            self._by_params[stage] = own is not inherited
        return self._by_params[stage]
