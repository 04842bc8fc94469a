"""Start-up stays light: listing, checking and helping need neither torch nor ray."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import acestep_flows

HEAVY = {"torch", "ray", "transformers", "diffusers", "peft", "librosa", "matplotlib", "scipy", "mlflow", "fastapi"}
SCRIPT = """
import json, sys
{body}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


@pytest.mark.parametrize(
    "body",
    [
        "import acestep_flows",
        "import acestep_flows.values, acestep_flows.errors, acestep_flows.settings, acestep_flows.weights.hub",
        "from acestep_flows.stages.registry import stages; [stage.inputs() for stage in stages().values()]",
        "import acestep_flows.graph.planning.plan",
        "from click.testing import CliRunner; from acestep_flows.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0",
        "from click.testing import CliRunner; from acestep_flows.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['graph', 'check', 'text2music']).exit_code == 0",
    ],
)
def test_nothing_heavy_is_imported(body: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(body=body)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


PACKAGE = Path(acestep_flows.__file__).parent
LAYERS = ("model", "text", "audio", "sampling", "stages", "graph", "runtime", "api", "bulk", "training")
"""Each imports only itself and what stands before it; what lies beside the packages may be used by all of them."""

RAY = ("runtime/serving", "runtime/bulk", "api", "training/encode_ray.py", "training/train_ray.py")
"""Where Ray may be imported."""


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports anywhere in it, those for type checkers alone left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("layer", ["model", "graph", "runtime", "api", "bulk"])
def test_layers_import_only_what_stands_before_them(layer: str) -> None:
    later = LAYERS[LAYERS.index(layer) + 1 :]
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in (PACKAGE / layer).rglob("*.py")
        for name in imported(path)
        if name.startswith(tuple(f"acestep_flows.{above}" for above in later))
    ]
    assert not wrong


def test_ray_is_imported_in_few_places() -> None:
    wrong = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not path.relative_to(PACKAGE).as_posix().startswith(RAY)
        and any(name == "ray" or name.startswith("ray.") for name in imported(path))
    ]
    assert not wrong
