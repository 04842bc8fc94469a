"""`python -m acestep_flows.cli`: the command line, where the `acestep-flows` script is not installed."""

from __future__ import annotations

from acestep_flows.cli.main import main

main()
