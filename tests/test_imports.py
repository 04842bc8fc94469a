"""Start-up stays light: listing, checking and helping need neither torch nor ray."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
