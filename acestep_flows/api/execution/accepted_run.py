"""Make a run from a request, and its plan again from the stored run: a graph's content and resolved inputs.

So a run is not affected by later changes of graph files, and after a restart it goes on with the same seeds.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from acestep_flows.api.store.ids import is_id
from acestep_flows.api.store.records import NewRun
from acestep_flows.errors import InputError
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.content import translate
from acestep_flows.graph.language.types import OPEN_END, accept, record_type
from acestep_flows.graph.language.wording import clip
from acestep_flows.graph.planning.layout import MAX_NODES, lay_out
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.planning.seeds import random_seed
from acestep_flows.graph.records.graph_content import graph_content, graph_scope
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.ports import PortType
from acestep_flows.values import Span, Value

OpenAsset = Callable[[str, str, str], Value]
"""The value in an asset, from its id, the kind wanted, and the input it is for (`Assets.value`)."""


_ASSET_URL = re.compile(
    r"(?:(?i:https?)://([^/?#]+))?(?:/[^?#]*)?/v1/assets/(asset-[0-9a-f]{26})(?:/content)?(?:\?[^#]*)?"
)
_DEFAULT_PORT = re.compile(r":(?:80|443)$")


class StandIn(Value):
    """Stands in a plan where the value of an asset will be, of which only the kind and length matter before it runs.

    Attributes:
        seconds: its length, perhaps rounded; None where it is not known.
        notes: what is changed when its file is read.
    """

    seconds: float | None
    notes: tuple[str, ...]

    def __init__(self, kind: str, seconds: float | None = None, notes: Sequence[str] = ()) -> None:
        self._set("kind", kind)
        self._set("seconds", seconds)
        self._set("notes", tuple(notes))

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def snapshot(
    scope: Scope,
    inputs: Mapping[str, Any],
    open_asset: OpenAsset,
    *,
    hosts: Collection[str] = (),
    most_nodes: int = MAX_NODES,
) -> tuple[Plan, NewRun]:
    """The plan of a checked graph for inputs as a client gives them, and the run to be accepted for it.

    Give it an owner, priority and so on with `dataclasses.replace`. Opens every asset named: call it in a thread. To
    accept a run, a `StandIn` for each is enough.

    Args:
        inputs: JSON by name; where the graph wants audio, latents and the like, an asset's id or URL, alone or
            as `{"asset": id}`.
        hosts: hosts of this server (`own_hosts`). A URL with another host is not one of its assets.
        most_nodes: that the plan may have.

    Raises:
        InputError: an input is not what the graph wants.
        NotFound: an asset does not exist.
    """
    reader = _AssetReader(open_asset, hosts)
    _refuse_ids_as_text(scope, inputs)
    plan = lay_out(scope, reader.inputs(scope, inputs), most_nodes=most_nodes)
    # Spans are kept as they were given: where the music ends is known exactly only once it has been read.
    spans = {
        name: accept(declared, inputs[name], name, random_seed)
        for name, declared in scope.graph.inputs.items()
        if declared.within and name in inputs
    }
    resolved = {name: reader.written(spans.get(name, value)) for name, value in plan.inputs.items()}
    return plan, NewRun(
        graph=plan.graph,
        digest=plan.digest,
        content=graph_content(scope),
        inputs=resolved,
        assets=tuple(reader.assets.values()),
        warnings=plan.warnings,
    )


def _refuse_ids_as_text(scope: Scope, inputs: Mapping[str, Any]) -> None:
    """Refuse the id of an asset as a text: a client that uploads a file for such an input means its content.

    Raises:
        InputError: an input is such a text.
    """

    def check(content: Any, kind: PortType, where: str) -> Any:
        if kind.kind == "text" and isinstance(content, str) and is_id("asset", content):
            raise InputError(f"{content} is the id of an asset", where=where, allowed="text")
        return content

    record_type(scope.graph.inputs).map(inputs, check)


class RunPlanner:
    """Plans runs that were accepted. A graph that many of them have is checked once. Thread-safe.

    Args:
        registry: the stages by name.
        most: characters of the checked graphs that are kept, as JSON. The latest ones are.
    """

    def __init__(self, registry: Mapping[str, type[Stage]] | None = None, most: int = 1_000_000) -> None:
        self._registry, self._most = registry, most
        self._scopes: OrderedDict[str, Scope] = OrderedDict()
        self._lock = threading.Lock()

    def plan(
        self, content: Mapping[str, Any], inputs: Mapping[str, Any], open_asset: OpenAsset
    ) -> tuple[Plan, dict[str, str]]:
        """As `planned`."""
        reader = _AssetReader(open_asset)
        scope = self._scope(content)
        plan = lay_out(scope, reader.inputs(scope, inputs))
        return plan, {value.digest: reader.assets[id(value)] for value in reader.values.values()}

    def _scope(self, content: Mapping[str, Any]) -> Scope:
        key = json.dumps(content)
        with self._lock:
            if key in self._scopes:
                self._scopes.move_to_end(key)
                return self._scopes[key]
        scope = graph_scope(content, "the run's graph", self._registry)
        with self._lock:
            self._scopes[key] = scope
            while sum(map(len, self._scopes)) > self._most:
                self._scopes.popitem(last=False)
        return scope


def planned(
    content: Mapping[str, Any],
    inputs: Mapping[str, Any],
    open_asset: OpenAsset,
    registry: Mapping[str, type[Stage]] | None = None,
) -> tuple[Plan, dict[str, str]]:
    """The plan of a run that was accepted, and for each value read, its digest and the asset it was in.

    Raises:
        InputError, GraphError: this version of the stages cannot run it.
        NotFound: an asset is gone.
    """
    return RunPlanner(registry).plan(content, inputs, open_asset)


def own_hosts(*addresses: str | None) -> frozenset[str]:
    """The hosts of a server, as `asset_id` compares them, from hosts with ports or URLs."""
    hosts = (address.partition("://")[2].partition("/")[0] or address for address in addresses if address)
    return frozenset(_comparable(host) for host in hosts)


def asset_id(text: str, hosts: Collection[str] = (), where: str = "") -> str:
    """The id in an asset's URL, which may be absolute or relative; any other text as it is. Nothing is fetched.

    Raises:
        InputError: the URL is of another server.
    """
    match = _ASSET_URL.fullmatch(text[:2000])
    if match is None:
        return text
    if match[1] and _comparable(match[1]) not in hosts:
        allowed = "the id of an asset, its path, or its URL" + "".join(f" at {host}" for host in sorted(hosts)[:2])
        raise InputError(f"the URL is of another server, {clip(match[1])}", where=where, allowed=allowed)
    return match[2]


def _comparable(host: str) -> str:
    return _DEFAULT_PORT.sub("", host.lower())


class _AssetReader:
    """Reads the assets that inputs name as values, and writes values as the names of their assets."""

    def __init__(self, open_asset: OpenAsset, hosts: Collection[str] = ()) -> None:
        self._open, self._hosts = open_asset, hosts
        self.values: dict[tuple[str, str], Value] = {}
        self.assets: dict[int, str] = {}

    def inputs(self, scope: Scope, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with their values. Names the graph does not know are left to the graph to refuse."""
        values: dict[str, Any] = record_type(scope.graph.inputs).map(inputs, self._read)
        return values

    def written(self, content: Any) -> Any:
        """JSON that `inputs` reads again."""
        return translate(content, self._written)

    def _written(self, leaf: Any) -> Any:
        if isinstance(leaf, Span):
            return {"start": leaf.start, "end": leaf.end if leaf.end != OPEN_END else None}
        return {"asset": self.assets[id(leaf)]} if isinstance(leaf, Value) else leaf

    def _read(self, content: Any, kind: PortType, where: str) -> Any:
        if not kind.value_kinds or kind.kind == "span" or content is None:
            return content
        asset = content["asset"] if isinstance(content, Mapping) and set(content) == {"asset"} else content
        if not isinstance(asset, str):
            allowed = f"the id of an asset with {' or '.join(kind.value_kinds)}"
            raise InputError("not an asset", where=where, allowed=allowed)
        return self._value(asset_id(asset, self._hosts, where), kind.kind, where)

    def _value(self, asset: str, kind: str, where: str) -> Value:
        if (asset, kind) not in self.values:
            value = self._open(asset, kind, where)
            self.values[asset, kind] = value
            self.assets[id(value)] = asset
        return self.values[asset, kind]
