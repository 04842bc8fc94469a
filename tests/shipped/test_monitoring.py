"""The dashboard and the alert rules name what /metrics has, in queries that parse, and every alert has a runbook."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from acestep_flows.api.http.dependencies import Streams
from acestep_flows.api.http.metrics import Metrics
from acestep_flows.api.service import Service
from acestep_flows.api.store.home import Home
from acestep_flows.runtime.serving.pool import shipped
from tests.api.toys import opened

DASHBOARD, ALERTS = shipped() / "grafana.json", shipped() / "alerts.yaml"
PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
NAME = re.compile(r"\bacestep_flows_\w+")
SELECTED = re.compile(r"\b(acestep_flows_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"by \(([\w, ]+)\) \([^()]*\(?(acestep_flows_\w+)")
OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus or the library adds."""


def panels() -> list[dict[str, Any]]:
    everything: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in everything if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Each query with the title that it belongs to, and with what Grafana puts in place of its variables."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for rule in rules():
        yield rule["alert"], rule["expr"]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrics]:
    with opened(tmp_path_factory.mktemp("home")) as home:
        assert isinstance(home, Home)
        yield Metrics(Service(home), Streams(1, 1))


def test_every_metric_that_is_named_exists(metrics: Metrics) -> None:
    page = asyncio.run(metrics.page()).decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", page, re.MULTILINE))
    known = {name for name, kind in kinds.items() if kind != "histogram"}
    known |= {
        f"{name}_{part}" for name, kind in kinds.items() if kind == "histogram" for part in ("bucket", "sum", "count")
    }
    named = {(title, name) for title, query in queries() for name in NAME.findall(query)}
    assert len({name for _, name in named}) > 20
    assert {(title, name) for title, name in named if name not in known} == set()


def test_every_label_that_is_named_exists(metrics: Metrics) -> None:
    labels = {
        metric._name: set(metric._labelnames) | OF_PROMETHEUS
        for metric in vars(metrics).values()
        if isinstance(metric, (Counter, Gauge, Histogram))
    }

    def of(name: str) -> set[str]:
        return labels[re.sub(r"_(total|bucket)$", "", name)]

    checked = 0
    for title, query in queries():
        for name, matchers in SELECTED.findall(query):
            for label in re.findall(r"(\w+)\s*[=!]~?\s*\"", matchers):
                assert label in of(name), (title, name, label)
                checked += 1
        for grouped, name in GROUPED.findall(query):
            assert set(re.split(r", *", grouped)) <= of(name), (title, query)
            checked += 1
    assert checked > 30


def test_every_query_parses() -> None:
    promql = pytest.importorskip("promql_parser", reason="no promql-parser (it comes with the dev extra)")
    for title, query in queries():
        assert promql.parse(query) is not None, title


def test_promtool_finds_no_fault(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on the PATH (Debian's package prometheus has it)")
    recorded = [{"record": f"panel:{at}", "expr": query} for at, (_, query) in enumerate(queries())]
    panels_as_rules = tmp_path / "panels.yaml"
    panels_as_rules.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    for file in (ALERTS, panels_as_rules):
        checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on the PATH (Debian's package prometheus has it)")
    queued = 'acestep_flows_runs{state="queued", instance="a"}'
    running = 'acestep_flows_runs{state="running", instance="a"}'
    ended = 'acestep_flows_runs_ended_total{graph="g", instance="a", state="%s"}'
    cases = {
        "AcestepFlowsQueueStands": ({queued: "5x20", running: "0x20", "acestep_flows_queue_paused": "0x20"}, True),
        "AcestepFlowsQueueStands ": ({queued: "5x20", running: "0x20", "acestep_flows_queue_paused": "1x20"}, False),
        "AcestepFlowsQueueStands  ": ({queued: "5x20", running: "1x20", "acestep_flows_queue_paused": "0x20"}, False),
        "AcestepFlowsRunsFail": ({ended % "failed": "0+1x30", ended % "succeeded": "0+9x30"}, True),
        "AcestepFlowsRunsFail ": ({ended % "failed": "0x30", ended % "succeeded": "0+9x30"}, False),
        "AcestepFlowsServerDown": ({'up{job="acestep-flows", instance="a"}': "0x20"}, True),
        "AcestepFlowsNoExecutor": ({"acestep_flows_executors": "0x20"}, True),
        "AcestepFlowsStoreAway": ({'acestep_flows_background_failures{work="claim"}': "0+20x20"}, True),
        "AcestepFlowsDiskFull": ({'acestep_flows_errors_total{code="storage"}': "0+1x20"}, True),
        "AcestepFlowsDiskFull ": ({'acestep_flows_http_errors_total{code="storage", status="507"}': "0+1x20"}, True),
    }
    for at, (alert, (series, fires)) in enumerate(cases.items()):
        given = [
            {"series": name, "values": values if "+" in values else values.replace("x", "+0x")}
            for name, values in series.items()
        ]
        name = alert.strip()
        firing = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
        expected = [{"labels": "{}", "value": 1}] if fires else []
        counted: dict[str, Any] = {"expr": firing, "eval_time": "15m", "exp_samples": expected}
        test: dict[str, Any] = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m"}
        test["tests"] = [{"interval": "1m", "input_series": given, "promql_expr_test": [counted]}]
        file = tmp_path / f"{at}.yaml"
        file.write_text(yaml.safe_dump(test))
        done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (alert, done.stdout, done.stderr)


def anchors() -> set[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_has_a_severity_and_a_runbook() -> None:
    known = anchors()
    assert rules()
    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/operating.md"
        assert anchor in known, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
    pages = PAGE.read_text(encoding="utf-8")
    assert {rule["alert"] for rule in rules()} == set(re.findall(r"\bAcestepFlows\w+", pages))


def test_panels_do_not_overlap_and_have_different_titles() -> None:
    everything = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    titles = [panel["title"] for panel in everything]
    assert len(set(titles)) == len(titles)
    assert len({panel["id"] for panel in everything}) == len(titles)
