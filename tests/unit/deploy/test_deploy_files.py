"""What deploy/ ships for operators: it names only metrics, states and pages that there are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from taskqueue.consume.metrics import PrometheusMetrics
from taskqueue.events import LEVELS
from taskqueue.operate.exposition import FAMILIES

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
DOCS = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
UNIT = (ROOT / "deploy" / "taskqueue.service").read_text(encoding="utf-8")
_METRIC = re.compile(r"\b(taskqueue_[a-z_]+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_OF_PROMETHEUS = {"le", "instance"}


def real() -> dict[str, set[str]]:
    """Give the names of the samples of a consumer and of `inspect --prometheus`, each with its labels."""
    found: dict[str, set[str]] = {each.name: set(each.labels) for each in FAMILIES}
    collectors: Any = PrometheusMetrics().registry._collector_to_names
    for collector, names in collectors.items():
        for name in names:
            found[name] = set(collector._labelnames)
    return found


def expressions() -> list[str]:
    """Give every expression of the rules and of the dashboard."""
    text = ALERTS.read_text(encoding="utf-8")
    rules = re.findall(r"expr: (?:\|\n)?(.*?)\n +(?:for|labels):", text, re.DOTALL)
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return rules + [target["expr"] for panel in panels for target in panel.get("targets", ())]


def promtool() -> str:
    """Give the path of promtool; `make promtool` gets it, and in CI it has to be there."""
    found = shutil.which("promtool") or shutil.which("promtool", path=str(ROOT / ".venv" / "bin"))
    if found is None and "CI" not in os.environ:
        pytest.skip("no promtool: run `make promtool`")
    assert found, "no promtool: scripts/get-promtool has not got it"
    return found


def test_every_expression_names_metrics_and_labels_that_there_are() -> None:
    """A rule on a name that was changed would never fire."""
    metrics = real()
    seen = set()
    assert len(expressions()) > 25
    for expression in expressions():
        for name, matchers in _METRIC.findall(expression):
            assert name in metrics, f"{name} in {expression}"
            seen.add(name)
            labels = set(_LABEL.findall(re.sub(r'"[^"]*"', '""', matchers)))
            assert labels <= metrics[name] | _OF_PROMETHEUS, f"{name}: {labels} in {expression}"
        for group in re.findall(r"by \(([^)]*)\)", expression):
            known = {label for each in metrics.values() for label in each} | _OF_PROMETHEUS | {"ladder"}
            assert {label.strip() for label in group.split(",")} <= known, expression
    assert len(seen) > 15


def test_every_rule_is_explained() -> None:
    """The runbook of each is a heading of the docs; and no heading is of a rule that is gone."""
    text = ALERTS.read_text(encoding="utf-8")
    names = re.findall(r"alert: (\w+)", text)
    assert re.findall(r"runbook: docs/monitoring\.md#(\w+)", text) == [name.lower() for name in names]
    assert re.findall(r"^### (Taskqueue\w+)$", DOCS, re.MULTILINE) == names


def test_every_metric_and_event_is_explained() -> None:
    """docs/monitoring.md names all, and none that is not there."""
    families = {
        name if name.endswith(("_info", "_total")) else re.sub(r"_(bucket|count|sum|created)$", "", name)
        for name in real()
        if not name.endswith("_created")
    }
    named = set(re.findall(r"^\| `(taskqueue_[a-z_]+)", DOCS, re.MULTILINE))
    # A counter has a name without its ending too.
    assert named == {name for name in families if f"{name}_total" not in families}
    assert set(re.findall(r"^\| `([a-z_]+)` \| (?:DEBUG|INFO|ERROR)", DOCS, re.MULTILINE)) == set(LEVELS)


def test_prometheus_takes_the_rules_and_each_fires_on_what_it_is_for(tmp_path: Path) -> None:
    """By Prometheus' own tool, on series of numbers; and it takes what the dashboard asks for."""
    tool = promtool()
    # JSON is YAML too.
    asked = [
        {"record": "asked", "expr": each.replace("$__rate_interval", "1m").replace("$queue", ".*")}
        for each in expressions()
    ]
    queries = tmp_path / "queries.yml"
    queries.write_text(json.dumps({"groups": [{"name": "all", "rules": asked}]}), encoding="utf-8")
    for arguments in (
        ["check", "rules", "--lint=none", str(queries)],
        ["check", "rules", str(ALERTS)],
        ["test", "rules", str(Path(__file__).with_name("alerts_fire.yml"))],
    ):
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    fires = Path(__file__).with_name("alerts_fire.yml").read_text(encoding="utf-8")
    for name in re.findall(r"alert: (\w+)", ALERTS.read_text(encoding="utf-8")):
        assert re.search(rf"alertname: {name}\s+exp_alerts:", fires), f"{name} is never seen to fire"


def test_the_dashboard_shows_each_panel_once() -> None:
    """Ids and places are apart, and every query has a data source that the viewer chooses."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert all(each["datasource"]["uid"] == "${datasource}" for each in panel.get("targets", ()))


def test_the_unit_has_systemd_watch_it() -> None:
    """It says when it is ready, feeds the watchdog, and is not started again with an ini that is no ini."""
    lines = UNIT.splitlines()
    for line in ("Type=notify", "WatchdogSec=60", "RestartPreventExitStatus=2"):
        assert line in lines


def test_systemd_takes_the_unit_and_finds_little_exposed(tmp_path: Path) -> None:
    """By systemd's own words, where it is there; the command is elsewhere on this machine."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze")
    unit = tmp_path / "taskqueue.service"
    unit.write_text(UNIT.replace("/opt/taskqueue/bin/taskqueue run", f"{shutil.which('true')} run"))
    for arguments in (["verify", "--man=no"], ["security", "--offline=true", "--no-pager", "--threshold=20"]):
        done = subprocess.run(
            [tool, *arguments, str(unit)], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
