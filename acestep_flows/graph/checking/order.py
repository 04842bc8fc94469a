"""The order of nodes, and circles among them. Every node and every need is looked at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import TopologicalSorter
from heapq import heappop, heappush

Needs = Mapping[str, Collection[str]]
"""The nodes that each node needs, by name, in the order of the file."""


def circles(needs: Needs) -> list[list[str]]:
    """Circles of nodes, each as the names along it, the first repeated at the end.

    A node of a circle that was found counts as having no needs, so every node is in one circle at most. In a circle,
    each node is needed by the one after it.
    """
    found: list[list[str]] = []
    done: set[str] = set()
    for start in needs:
        path: dict[str, Iterator[str]] = {start: iter(needs[start])} if start not in done else {}
        while path:
            name = next(reversed(path))
            needed = next(path[name], None)
            if needed is None:
                done.add(name)
                del path[name]
            elif needed in path:
                circle = [needed]
                while (last := path.popitem()[0]) != needed:
                    circle.append(last)
                found.append([*circle, needed])
                done.update(circle)
            elif needed not in done:
                path[needed] = iter(needs[needed])
    return found


def in_order(needs: Needs) -> list[str]:
    """Nodes without circles, each after what it needs, else as they are given.

    Raises:
        graphlib.CycleError: there is a circle.
    """
    names = list(needs)
    position = {name: at for at, name in enumerate(names)}
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    ready: list[int] = []
    order: list[str] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heappush(ready, position[name])
        order.append(names[heappop(ready)])
        sorter.done(order[-1])
    return order
