"""Which part of the package may import which: one table, checked over every import wherever it stands in a file.

Imports inside functions and those for type checkers count like any other: they tie modules together all the same.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import acestep_flows

PACKAGE = "acestep_flows"
ROOT = Path(acestep_flows.__file__).parent

GUARDED = ("torch", "fastapi", "sqlalchemy", "click")
"""Libraries that shape what imports them. A part may import one only where its row says so. Ray: see `RAY`."""

LAYERS: dict[str, str] = {
    # what everything stands on
    "errors": "",
    "lazy_imports": "",
    "storage": "errors",
    "settings": "errors storage",
    "values": "errors",
    "wording": "errors storage",
    "value_file": "errors storage values",
    "optional_packages": "errors",
    "mlflow_run": "errors optional_packages",
    "tracing": "errors optional_packages settings",
    # the model and what belongs to it
    "model": "errors lazy_imports storage values wording torch",
    "text": "errors values",
    "audio": "errors storage values",
    "sampling": "errors values model torch",
    "stages": "errors values wording model text audio sampling torch",
    "testing": "errors model torch",
    "weights": "errors settings storage model",
    # graphs
    "graph.pauses": "errors",
    "graph.language": "errors values wording stages graph.pauses",
    "graph.library": "errors graph.language",
    "graph.content": "values",
    "graph.checking": "errors values wording stages graph.pauses graph.language",
    "graph.planning": "errors values wording stages graph.pauses graph.language graph.library graph.content "
    "graph.checking",
    "graph.execution": "errors storage values stages graph.content graph.planning",
    "graph.records": "errors values wording audio stages graph.language graph.library graph.content graph.checking "
    "graph.planning graph.execution",
    "graph.views": "storage values stages graph.language graph.checking",
    # where stages run
    "runtime": "errors lazy_imports values model sampling stages graph torch",
    "runtime.serving": "errors lazy_imports settings storage values wording tracing model sampling stages weights "
    "graph runtime",
    "runtime.bulk": "errors settings values model stages graph runtime runtime.serving",
    # one song in this process
    "input_reader": "errors values wording value_file audio stages",
    "outputs": "errors storage values value_file audio graph",
    "recipes": "errors storage values wording value_file audio stages graph input_reader",
    "session": "errors lazy_imports settings storage values wording model audio stages weights graph runtime "
    "input_reader "
    "outputs recipes click",
    # a server, and who asks it
    "client": "errors settings storage wording",
    "api.options": "",
    "api.store": "errors optional_packages settings storage values value_file audio runtime.serving sqlalchemy",
    "api.execution": "errors settings storage values value_file tracing audio stages graph outputs api.store",
    "studio": "fastapi",
    "api.http": "errors settings storage values value_file wording tracing audio stages graph recipes studio "
    "api.options api.store api.execution fastapi",
    "compat": "errors lazy_imports settings storage values value_file wording text audio stages graph recipes session "
    "api.options api.store api.execution api.http fastapi",
    "api.server": "errors lazy_imports settings storage wording tracing stages weights graph runtime.serving "
    "api.options api.store api.execution api.http compat fastapi",
    # many songs
    "bulk": "errors storage values value_file wording mlflow_run model audio stages weights graph runtime.serving "
    "runtime.bulk input_reader outputs session client torch",
    # training
    "training.synthesis": "errors storage",
    "training.nano.architecture": "model",
    "training.loop": "errors optional_packages storage values wording mlflow_run model runtime.serving runtime.bulk "
    "training.nano.architecture torch",
    "training.adapters": "errors storage model torch",
    "training.data": "errors optional_packages settings storage values wording model text audio stages weights "
    "runtime.bulk bulk training.synthesis training.loop torch",
    "training.kinds": "errors storage values model text audio sampling weights training.adapters training.data "
    "training.loop torch",
    "training.nano": "errors storage values model training torch",
    # the command line
    "cli": "errors lazy_imports optional_packages settings storage values wording model text audio stages weights "
    "graph runtime runtime.serving input_reader outputs recipes session client api bulk training torch click",
}
"""What each part may import besides itself, from the ground up: a row names only rows above it.

A part is a module or a package; a package without a row of its own belongs to the one around it. `graph` stands for all
parts that begin with `graph.`, and so do `api` and `training`. `runtime` is only what lies beside `runtime.serving`.
"""

PARTS_OF = {"api.service": "api.http", "api.ingress": "api.server"}
"""Modules that belong to a part in whose folder they do not lie. `api.ingress` is an import path of 0.1."""

FOLDERS = ("graph", "api", "training")
"""Packages that hold only parts. What is put beside those parts needs a row."""

RAY = {
    "api.server.ingress",
    "runtime.bulk.cluster",
    "runtime.bulk.pipeline",
    "runtime.serving.deployment",
    "runtime.serving.joined_ray",
    "runtime.serving.local_ray",
    "runtime.serving.pool_watch",
    "runtime.serving.ray_environment",
    "runtime.serving.runner",
    "training.data.encode_ray",
    "training.loop.train_ray",
}
"""The modules that import Ray."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name below the root; the root itself is ""."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def names_imported(path: Path) -> Iterator[tuple[str, str]]:
    """Each import of a file, as a module and a name in it; the name is "" for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)


@cache
def imports(module: str) -> frozenset[str]:
    """Modules of this package and guarded libraries that `module` imports; reading the version does not count."""
    targets = set()
    for source, name in names_imported(modules()[module]):
        library = source.partition(".")[0]
        if library in (*GUARDED, "ray"):
            targets.add(library)
        if library == PACKAGE and (source, name) != (PACKAGE, "__version__"):
            inner = f"{source}.{name}".removeprefix(PACKAGE).strip(".")
            targets.add(inner if inner in modules() else source.removeprefix(PACKAGE).strip("."))
    return frozenset(targets)


def part_of(module: str) -> str | None:
    """The row that holds `module`; None where there is none."""
    name = PARTS_OF.get(module, module)
    while name and name not in LAYERS:
        name = name.rpartition(".")[0]
    return name or None


def may_import(part: str) -> set[str]:
    """Every row and library that a row allows, itself among them."""
    allowed = {part}
    for name in LAYERS[part].split():
        allowed |= {row for row in LAYERS if row.startswith(f"{name}.")} if name in FOLDERS else {name}
    return allowed


def faults(module: str, part: str) -> list[str]:
    """What `module` imports against the row of `part`."""
    allowed = may_import(part)
    targets = (
        (target, target if target in GUARDED else part_of(target)) for target in sorted(imports(module) - {"ray"})
    )
    return [f"{module} imports {target}" for target, owner in targets if owner not in allowed]


@pytest.mark.parametrize("part", LAYERS)
def test_a_part_imports_only_what_its_row_allows(part: str) -> None:
    members = [module for module in modules() if module and part_of(module) == part]
    assert members, "no such module"
    assert [fault for module in members for fault in faults(module, part)] == []


def test_every_module_has_a_row() -> None:
    assert [name for name in modules() if name not in ("", *FOLDERS) and part_of(name) is None] == []
    assert all(not imports(name) for name in FOLDERS)


def family_of(module: str) -> str:
    """The family that a module of `compat` belongs to; empty for what they share."""
    name = ".".join(module.split(".")[:2])
    return name if module.startswith("compat.") and f"{name}.family" in modules() else ""


def test_no_family_imports_another() -> None:
    assert [
        f"{module} imports {target}"
        for module in modules()
        for target in imports(module)
        if family_of(target) not in ("", family_of(module))
    ] == []


def test_rows_name_only_rows_above_them() -> None:
    rows = list(LAYERS)
    for part, allowed in LAYERS.items():
        above = {*rows[: rows.index(part)], *GUARDED}
        above |= {name for name in FOLDERS if any(row.startswith(f"{name}.") for row in above)}
        assert set(allowed.split()) <= above, part


def test_the_front_door_imports_only_what_users_import() -> None:
    assert imports("") <= {"client", "session", "values", "errors"}
    others = [name for name in modules() if name and "" in imports(name)]
    assert others == [], "import names from their own modules"


def test_no_modules_import_each_other_in_circles() -> None:
    """Also not later, inside a function, nor for a type checker's sake."""
    assert list(circles({name: imports(name) & modules().keys() for name in modules()})) == []


def circles(arrows: dict[str, frozenset[str]]) -> Iterator[set[str]]:
    """Groups of modules in which each reaches all others."""
    reached: dict[str, set[str]] = {}
    for start in arrows:
        reached[start], queue = set(), [start]
        while queue:
            for target in arrows[queue.pop()] - reached[start]:
                reached[start].add(target)
                queue.append(target)
    seen: set[str] = set()
    for name in arrows:
        group = {other for other in reached[name] if name in reached[other]}
        if group and name not in seen:
            seen |= group
            yield group


def test_a_circle_is_found() -> None:
    arrows = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b"}), "d": frozenset({"a"})}
    assert list(circles(arrows)) == [{"b", "c"}]


def test_ray_is_imported_in_few_places() -> None:
    assert {name for name in modules() if "ray" in imports(name)} == RAY


def test_the_root_stays_small() -> None:
    assert len([name for name in modules() if name and "." not in name and modules()[name].stem != "__init__"]) <= 10


def test_no_file_is_longer_than_350_lines() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


SHARED_NAMES = {
    "In": "stages",
    "Out": "stages",
    "Params": "stages",
    "Asset": "api.http client",
    "Node": "api.http client",
    "Output": "api.http client",
    "Problem": "api.http errors",
    "Run": "api.http client",
}
"""Class names that mean more than one class: parts of the stage contract, and records as each end of HTTP has them."""


def test_a_class_name_means_one_class() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                owners[node.name].add(name)
    shared = {
        name: " ".join(sorted({part_of(module) or "" for module in where}))
        for name, where in owners.items()
        if len(where) > 1
    }
    assert shared == SHARED_NAMES
    assert len(SHARED_NAMES) <= 8
