"""Which nodes of a plan wait for which, counted down while the plan runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from acestep_flows.graph.planning.plan import Plan, outputs_in


class Dependencies:
    """The edges of a plan.

    Attributes:
        needs: by node, the nodes it waits for.
        users: by node, the nodes that wait for it.
    """

    def __init__(self, plan: Plan) -> None:
        self.needs = {id: node.needs() for id, node in plan.nodes.items()}
        self.users: dict[str, list[str]] = {id: [] for id in plan.nodes}
        for id, needs in self.needs.items():
            for source in needs:
                self.users[source].append(id)
        self._sources_left = {id: len(needs) for id, needs in self.needs.items()}
        self._uses_left = {id: len(users) for id, users in self.users.items()}
        for output in outputs_in(plan.outputs):
            self._uses_left[output.node] += 1  # Never counted down: the outputs of the plan stay.

    def roots(self) -> list[str]:
        """The nodes that wait for no other."""
        return [id for id, needs in self.needs.items() if not needs]

    def is_used(self, id: str) -> bool:
        """Whether anything still needs the outputs of this node."""
        return self._uses_left[id] > 0

    def supply(self, id: str) -> list[str]:
        """The outputs of a node exist: the nodes for which they were the last that was missing."""
        for user in self.users[id]:
            self._sources_left[user] -= 1
        return [user for user in self.users[id] if not self._sources_left[user]]

    def release(self, id: str) -> list[str]:
        """A node is done: the nodes whose outputs nothing needs any more."""
        for source in self.needs[id]:
            self._uses_left[source] -= 1
        return [source for source in self.needs[id] if not self._uses_left[source]]

    def with_sources(self, ids: Iterable[str]) -> set[str]:
        """The nodes and everything they need, directly or not."""
        return _closure(ids, self.needs)

    def with_users(self, ids: Iterable[str]) -> set[str]:
        """The nodes and everything that needs them, directly or not."""
        return _closure(ids, self.users)


def _closure(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    reached = set(start)
    pending = list(reached)
    while pending:
        for id in edges[pending.pop()]:
            if id not in reached:
                reached.add(id)
                pending.append(id)
    return reached
