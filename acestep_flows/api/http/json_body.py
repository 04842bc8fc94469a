"""Reads JSON bodies more strictly than the framework: a key that stands twice in an object is refused by its name.

Readers of JSON differ in which of the two they take, so a request could mean another thing than its sender thinks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip


class JsonRequest(Request):
    """A request whose JSON has every key once."""

    async def json(self) -> Any:
        """The body.

        Raises:
            InputError: a key stands twice in an object.
            ValueError: the body is not JSON.
        """
        if not hasattr(self, "_json"):
            self._json = json.loads(await self.body(), object_pairs_hook=unique)
        return self._json


class JsonRoute(APIRoute):
    """A route that reads its body as `JsonRequest` does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_strictly


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name in times if times[name] > 1)
        raise InputError("given several times in one object", where=clip(twice), allowed="once")
    return content
