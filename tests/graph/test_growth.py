"""Checking, planning and showing a graph takes time that grows with its size, whatever is wrong in it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from acestep_flows.errors import Cancelled, InputError
from acestep_flows.graph.checking.check import check, checked
from acestep_flows.graph.checking.order import circles
from acestep_flows.graph.checking.signature import Signature
from acestep_flows.graph.execution.forecast import NodeForecast, _peak_held
from acestep_flows.graph.language.parse import parse, parse_plain
from acestep_flows.graph.language.syntax import Graph, NodeSyntax
from acestep_flows.graph.library import Library
from acestep_flows.graph.pauses import Pauses
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.planning.plan import NodeOutput, Plan, PlanNode
from acestep_flows.graph.planning.plan_size import MAX_PARTS
from acestep_flows.graph.views.describe import describe
from acestep_flows.graph.views.draw import dot, mermaid
from acestep_flows.graph.views.schema import input_schema
from acestep_flows.stages.registry import stages
from tests.growth import grows_with_its_size

LIBRARY = Library(working=None)


def graph(nodes: str, outputs: str = "o: $n0", inputs: str = "  t: {type: text}\n") -> str:
    return f"graph: g\nversion: 1\ninputs:\n{inputs}nodes:\n{nodes}outputs:\n  {outputs}\n"


def lines(size: int, line: Callable[[int], str]) -> str:
    return "".join(f"  {line(i)}\n" for i in range(size))


def encoders(size: int, tags: Callable[[int], str], more: str = "") -> str:
    return lines(size, lambda i: f"n{i}: {{stage: encode_prompt, with: {{tags: {tags(i)}}}{more}}}")


def all_of(size: int) -> str:
    return "o: [" + ", ".join(f"$n{i}" for i in range(size)) + "]"


ENCODED = "stage: encode_prompt, with: {tags: $t}"
ONE = f"  n0: {{{ENCODED}}}\n"

GRAPHS: dict[str, Callable[[int], str]] = {
    "sound": lambda n: graph(encoders(n, lambda i: "$t"), all_of(n)),
    "unknown stages": lambda n: graph(lines(n, lambda i: f"n{i}: {{stage: zzz{i}, with: {{a: $t}}}}")),
    "unknown graphs": lambda n: graph(lines(n, lambda i: f"n{i}: {{graph: zzz{i}, with: {{a: $t}}}}")),
    "dangling references": lambda n: graph(encoders(n, lambda i: f"$u{i}")),
    "dangling outputs": lambda n: graph(encoders(1, lambda i: "$t"), lines(n, lambda i: f"o{i}: $x{i}").strip()),
    "unknown ports": lambda n: graph(encoders(n, lambda i: f"$n{max(0, i - 1)}.zz{i}")),
    "unused inputs": lambda n: graph(encoders(1, lambda i: "a"), inputs=lines(n, lambda i: f"i{i}: {{type: text}}")),
    "unused nodes": lambda n: graph(encoders(n, lambda i: "$t")),
    "missing inputs": lambda n: graph(lines(n, lambda i: f"n{i}: {{stage: encode_prompt}}"), all_of(n)),
    "extra inputs": lambda n: graph(
        "  n0: {stage: encode_prompt, with: {tags: $t, " + ", ".join(f"x{i}: 1" for i in range(n)) + "}}\n"
    ),
    "out of range": lambda n: graph(encoders(n, lambda i: "''"), all_of(n)),
    "wrong types": lambda n: graph(encoders(n, lambda i: f"[{i}]"), all_of(n)),
    "many circles": lambda n: graph(encoders(n, lambda i: f"$n{i}"), all_of(n)),
    "one circle": lambda n: graph(encoders(n, lambda i: f"$n{(i + 1) % n}")),
    "pairs in circles": lambda n: graph(encoders(n, lambda i: f"$n{i ^ 1}"), all_of(n)),
    "chain": lambda n: graph(encoders(n, lambda i: f"$n{i - 1}" if i else "$t"), f"o: $n{n - 1}"),
    "relations": lambda n: graph(
        encoders(1, lambda i: "a"), inputs=lines(n, lambda i: f"i{i}: {{type: int, at_most: q{i}, within: z{i}}}")
    ),
    "spans": lambda n: graph(ONE, inputs=lines(n, lambda i: f"i{i}: {{type: span, within: q{i}}}")),
    "variables with names of inputs": lambda n: graph(
        lines(n, lambda i: f"n{i}: {{stage: encode_prompt, each: {{i0: $i{i}}}, with: {{tags: $i0}}}}"),
        inputs=lines(n, lambda i: f"i{i}: {{type: list of text}}"),
    ),
    "one loop over many inputs": lambda n: graph(
        "  n0: {stage: encode_prompt, each: {x: [" + ", ".join(f"$i{i}" for i in range(n)) + "]}, with: {tags: $x}}\n",
        inputs=lines(n, lambda i: f"i{i}: {{type: text}}"),
    ),
    "unknown types": lambda n: graph(encoders(1, lambda i: "a"), inputs=lines(n, lambda i: f"i{i}: {{type: zz{i}}}")),
    "unknown keys": lambda n: "graph: g\n" + "".join(f"k{i}: 1\n" for i in range(n)),
    "unknown keys of nodes": lambda n: graph("  n0: {" + ", ".join(f"k{i}: 1" for i in range(n)) + "}\n"),
    "bad names": lambda n: graph(lines(n, lambda i: f"N{i}: {{stage: encode_prompt, with: {{tags: $t}}}}")),
    "twice": lambda n: graph(lines(n, lambda i: "n0: {stage: encode_prompt, with: {tags: $t}}")),
    "choices": lambda n: graph(
        encoders(1, lambda i: "$t"),
        inputs="  t: {type: list of int, choices: &".replace("&", "[" + ", ".join(map(str, range(n))) + "], default: ")
        + "[" + ", ".join(map(str, range(n))) + "]}\n",
    ),
    "stand-ins": lambda n: graph(
        encoders(n, lambda i: "$t", ", when: $b, otherwise: {prompt: $n" + f"{n}" + "}")
        + f"  n{n}: {{stage: encode_prompt, with: {{tags: $t}}}}\n",
        all_of(n),
        "  t: {type: text}\n  b: {type: bool}\n",
    ),
    "stand-ins for stand-ins": lambda n: graph(
        lines(n, lambda i: f"n{i}: {{{ENCODED}, when: $b, otherwise: {{prompt: $n{i + 1}}}}}")
        + f"  n{n}: {{stage: encode_prompt, with: {{tags: $t}}}}\n",
        inputs="  t: {type: text}\n  b: {type: bool}\n",
    ),
    "fields of a record": lambda n: graph(
        encoders(n, lambda i: f"$r.f{i}"),
        all_of(n),
        "  r: {type: record, fields: {" + ", ".join(f"f{i}: {{type: text}}" for i in range(n)) + "}}\n",
    ),
    "wrong fields of a record": lambda n: graph(
        encoders(n, lambda i: f"$r.g{i}"),
        all_of(n),
        "  r: {type: record, fields: {" + ", ".join(f"f{i}: {{type: text}}" for i in range(n)) + "}}\n",
    ),
    "groups used": lambda n: "use: [zz]\n" + graph(encoders(n, lambda i: "$t", ", use: [zz]")),
    "long text": lambda n: graph(encoders(1, lambda i: "'" + "la " * (100 * n) + "'")),
    "long reference": lambda n: graph(encoders(1, lambda i: "$t" + ".a" * (50 * n))),
    "long bad reference": lambda n: graph(encoders(1, lambda i: "$" + "a.b-" * (50 * n))),
    "long name": lambda n: graph(f"  {'n' * (100 * n)}: {{stage: encode_prompt}}\n"),
    "long bad name": lambda n: graph(f"  {'a-' * (100 * n)}: {{stage: encode_prompt}}\n"),
    "long bad name of a graph": lambda n: f"graph: {'a-' * (100 * n)}!\nversion: 1\nnodes: {{}}\noutputs: {{}}\n",
    "brackets": lambda n: "[" * n,
    "dashes": lambda n: "- " * n,
    "quotes": lambda n: "graph: '" + "''" * (50 * n),
    "comments": lambda n: "#" * (100 * n) + "\n" + "#\n" * (10 * n),
    "keys in flow": lambda n: "{" + "a, " * (10 * n),
}  # fmt: skip


def examine(text: str) -> Graph:
    read = parse(text, "g")
    check(read, stages(), LIBRARY.nested)
    return read


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_a_graph_is_checked_in_time_that_grows_with_its_size(make: Callable[[int], str]) -> None:
    assert grows_with_its_size(make, examine, 200)


SHOWN = ("sound", "one circle", "chain", "unused inputs", "fields of a record", "choices", "stand-ins")


@pytest.mark.parametrize("name", SHOWN)
def test_a_graph_is_shown_in_time_that_grows_with_its_size(name: str) -> None:
    def show(read: Graph) -> None:
        describe(read, stages(), LIBRARY.nested)
        dot(read)
        mermaid(read)
        input_schema(read)
        parse_plain(read.content, "again")

    assert grows_with_its_size(lambda size: parse(GRAPHS[name](size), "g"), show, 120)


def test_a_graph_of_the_largest_size_is_checked_at_once() -> None:
    text = graph(encoders(4_000, lambda i: f"$u{i}"))
    begun = time.thread_time()
    assert examine(text).nodes
    assert time.thread_time() - begun < 30  # it took more than a minute


def test_problems_beyond_those_told_are_counted() -> None:
    found = check(parse(graph(encoders(700, lambda i: f"$u{i}")), "g"), stages(), LIBRARY.nested)
    assert len(found) == 201
    assert found[-1].message.startswith("and ")
    assert int(found[-1].message.split()[1]) > 1000


def test_circles_that_share_nodes_are_found_once() -> None:
    needs = {"a": ["b"], "b": ["c", "a"], "c": ["a"], "d": ["a", "d"], "e": ["f"], "f": []}
    assert [set(circle) for circle in circles(needs)] == [{"a", "b", "c"}, {"d"}]
    for circle in circles(needs):
        assert circle[0] == circle[-1]
        assert all(need in needs[user] for need, user in pairwise(circle))


TAKES = checked(LIBRARY.load("batch-takes"), stages(), LIBRARY.nested)


def takes(size: int) -> dict[str, Any]:
    return {"tags": "a", "lyrics": "", "duration": 10, "seeds": list(range(size))}


INPUTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "elements": takes,
    "unknown inputs": lambda n: {**takes(1), **{f"zz{i}": 1 for i in range(50 * n)}},
    "unknown seeds": lambda n: {**takes(1), **{f"takes[{i}].zz": 1 for i in range(50 * n)}},
    "long text": lambda n: {**takes(1), "tags": "a," * (10 * n)},
    "long name": lambda n: {**takes(1), "x" * (100 * n): 1},
    "wrong elements": lambda n: {**takes(1), "seeds": ["x"] * (50 * n)},
}


@pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS)
def test_a_plan_is_laid_out_in_time_that_grows_with_its_inputs(make: Callable[[int], dict[str, Any]]) -> None:
    def plan(inputs: dict[str, Any]) -> None:
        with contextlib.suppress(InputError):
            lay_out(TAKES, inputs, lambda _: 0)

    assert grows_with_its_size(make, plan, 150)


def test_too_many_nodes_are_refused_before_they_are_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    laid: list[str] = []
    whole = TAKES.signature

    def counted(node: NodeSyntax) -> Signature | None:
        laid.append(node.name)
        return whole(node)

    monkeypatch.setattr(TAKES, "signature", counted)
    with pytest.raises(InputError, match=r"more than 500 nodes .*shorter lists"):
        lay_out(TAKES, takes(1000), most_nodes=500)
    assert len(laid) < 20
    assert lay_out(TAKES, takes(80), most_nodes=500).nodes


def test_lists_that_every_node_copies_are_priced() -> None:
    text = (
        "graph: g\nversion: 1\ninputs: {n: {type: list of seed}, steps: {type: list of int}}\n"
        "nodes:\n  noise: {stage: init_noise, with: {duration: 1, seed: 1}}\n"
        "  words: {stage: encode_lyrics, with: {lyrics: ''}}\n  prompt: {stage: encode_prompt, with: {tags: a}}\n"
        "  take:\n    each: {x: $n}\n    stage: sample\n"
        "    with: {prompt: $prompt, lyrics: $words, noise: $noise, oss_steps: $steps}\n"
        "outputs: {o: $take.latents}\n"
    )
    scope = checked(parse(text), stages(), LIBRARY.nested)
    size = 2 * int(MAX_PARTS**0.5)
    begun = time.thread_time()
    with pytest.raises(InputError, match=f"more than {MAX_PARTS} values in lists and maps|oss_steps"):
        lay_out(scope, {"n": list(range(size)), "steps": [1] * size})
    assert time.thread_time() - begun < 60


def long_plan(size: int) -> Plan:
    nodes = {f"n{i}": PlanNode(f"n{i}", "trim", {"a": NodeOutput(f"n{i - 1}", "x")} if i else {}) for i in range(size)}
    return Plan("g", "", {}, nodes, {"o": [NodeOutput(id, "x") for id in nodes]})


def test_the_peak_of_a_forecast_is_found_in_time_that_grows_with_the_plan() -> None:
    def peak(plan: Plan) -> None:
        nodes = [NodeForecast(id, "trim", "computed", 1.0, 10) for id in plan.nodes]
        assert _peak_held(plan, nodes) == 10 * len(nodes)

    assert grows_with_its_size(long_plan, peak, 1000)


def test_the_peak_counts_what_is_alive_at_once() -> None:
    plan = Plan("g", "", {}, long_plan(5).nodes, {"o": NodeOutput("n4", "x")})
    nodes = [NodeForecast(f"n{i}", "trim", "computed", 1.0, nbytes) for i, nbytes in enumerate((5, 7, 2, 100, 1))]
    assert _peak_held(plan, nodes) == 102


def test_work_that_nobody_waits_for_ends_and_others_go_on_meanwhile() -> None:
    text = graph(encoders(6_000, lambda i: "$t"), all_of(6_000))
    pauses = Pauses()

    async def main() -> None:
        endless = partial(pauses.during, lambda: [examine(text) for _ in range(1000)])
        work = asyncio.get_running_loop().run_in_executor(None, endless)
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not work.done()
        pauses.stop()
        with pytest.raises(Cancelled):
            await work

    asyncio.run(main())


def test_work_pauses_so_that_other_threads_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    Pauses().during(lambda: [examine(GRAPHS["sound"](120)) for _ in range(8)])
    assert slept
