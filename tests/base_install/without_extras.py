"""Run the command line, or a program, in a process that has only what the package itself requires.

    python -m tests.base_install.without_extras run text2music ...
    python -m tests.base_install.without_extras -c "import acestep_flows"
    python -m tests.base_install.without_extras --each '[["stages"], ["graphs"]]'

The last form runs one command after the other, and prints a line of JSON for each: its exit code and its stderr.

The packages that remain are computed from the metadata of what is installed, starting from pyproject.toml: a package
that a new import needs is missing here until pyproject.toml requires it.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from acestep_flows.optional_packages import EXTRAS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def required(extras: Sequence[str] = ()) -> set[str]:
    """The distributions that the package and some of its extras require, directly or not."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    queue: list[tuple[Requirement, frozenset[str]]] = [(Requirement(text), frozenset()) for text in wanted]
    found: dict[str, set[str]] = {}
    while queue:
        requirement, asked_with = queue.pop()
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in asked_with | {""}):
            continue
        name = canonicalize_name(requirement.name)
        if name in found and requirement.extras <= found[name]:
            continue
        found.setdefault(name, set()).update(requirement.extras)
        queue += [(Requirement(text), frozenset(found[name])) for text in metadata.requires(name) or []]
    return set(found)


def owners(module: str) -> set[str]:
    """The distributions that install a module. Several may share the packages above it."""
    beginning = canonicalize_name(module.partition(".")[0])
    path = module.replace(".", "/")
    return {
        canonicalize_name(distribution.name)
        for distribution in metadata.distributions()
        if canonicalize_name(distribution.name).startswith(beginning)
        and any(str(file).startswith((f"{path}/", f"{path}.py")) for file in distribution.files or ())
    }


class Missing(MetaPathFinder):
    """Finds what Python's own finder finds on the path, except modules whose distributions are all missing."""

    def __init__(self, installed: set[str]) -> None:
        self.installed = installed | {"acestep-flows"}
        distributions = metadata.packages_distributions()
        self.modules = {
            module
            for module, names in distributions.items()
            if not {canonicalize_name(name) for name in names} & installed and module not in sys.stdlib_module_names
        } - {"acestep_flows", "tests"}
        shared = {module for extra in EXTRAS for module in extra.modules if "." in module}
        self.modules |= {module for module in shared if not owners(module) & installed}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self.modules or name.partition(".")[0] in self.modules:
            return None
        return PathFinder.find_spec(name, path, target)

    def find_distributions(self, context: metadata.DistributionFinder.Context) -> Iterator[metadata.Distribution]:
        """The metadata of what is installed, which libraries ask for as well."""
        for distribution in PathFinder.find_distributions(context):
            if canonicalize_name(distribution.name) in self.installed:
                yield distribution


def main() -> None:
    """Remove the extras, then run the rest of the command line."""
    finder = Missing(required())
    for name in list(sys.modules):
        if name.partition(".")[0] in finder.modules:
            del sys.modules[name]
    sys.meta_path[sys.meta_path.index(PathFinder)] = finder
    if sys.argv[1:2] == ["-c"]:
        exec(compile(sys.argv[2], "<string>", "exec"), {"__name__": "__main__"})
        return
    if sys.argv[1:2] == ["--each"]:
        run_each(json.loads(sys.argv[2]))
        return
    from acestep_flows.cli.main import main as command_line

    command_line()


def run_each(commands: Sequence[Sequence[str]]) -> None:
    """Run commands in this process, and print how each of them ended."""
    from click.testing import CliRunner

    from acestep_flows.cli.main import cli

    for arguments in commands:
        done = CliRunner().invoke(cli, list(arguments))
        print(json.dumps([done.exit_code, done.stderr]), flush=True)  # noqa: T201 - for who started this


if __name__ == "__main__":
    main()
