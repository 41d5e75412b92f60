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
from typer.main import get_command

from taskqueue.cli import module
from taskqueue.consume.metrics import PrometheusMetrics
from taskqueue.events import LEVELS
from taskqueue.operate.exposition import FAMILIES

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
DOCS = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
RUN_UNIT = ROOT / "deploy" / "taskqueue.service"
WEB_UNIT = ROOT / "deploy" / "taskqueue-web.service"
UNIT = RUN_UNIT.read_text(encoding="utf-8")
# Of queue_coarse_metrics, as prometheus_rabbitmq_core_metrics_collector has them for /metrics/detailed.
OF_RABBITMQ = {"rabbitmq_detailed_queue_messages_ready": {"vhost", "queue"}}
_METRIC = re.compile(r"\b((?:taskqueue|rabbitmq)_[a-z_]+)(?:\{([^}]*)\})?")
_STRING = re.compile(r'"(?:\\.|[^"\\])*"')
_GROUP = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_OPERATORS = {"and", "or", "unless", "bool", "offset"}
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


def named(expression: str) -> set[str]:
    """Give every metric that an expression names, whatever it is called: each word that is nothing else."""
    text = _STRING.sub("", expression)
    for other in (re.compile(r"\{[^}]*\}|\[[^\]]*\]"), _GROUP):
        text = other.sub("", text)
    # With a bracket behind it, it is a function.
    return set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*\b(?!\s*\()", text)) - _OPERATORS


def promtool() -> str:
    """Give the path of promtool; `make promtool` gets it, and in CI it has to be there."""
    found = shutil.which("promtool") or shutil.which("promtool", path=str(ROOT / ".venv" / "bin"))
    if found is None and "CI" not in os.environ:
        pytest.skip("no promtool: run `make promtool`")
    assert found, "no promtool: scripts/get-promtool has not got it"
    return found


def test_every_expression_names_metrics_and_labels_that_there_are() -> None:
    """A rule on a name that was changed would never fire."""
    metrics = real() | OF_RABBITMQ
    seen: set[str] = set()
    assert len(expressions()) > 25
    for expression in expressions():
        names = named(expression)
        assert names, expression
        assert names <= set(metrics), f"{names - set(metrics)} in {expression}"
        seen |= names
        for name, matchers in _METRIC.findall(expression):
            labels = set(_LABEL.findall(re.sub(r'"[^"]*"', '""', matchers)))
            assert labels <= metrics[name] | _OF_PROMETHEUS, f"{name}: {labels} in {expression}"
        for group in re.findall(r"by \(([^)]*)\)", expression):
            known = {label for each in metrics.values() for label in each} | _OF_PROMETHEUS | {"ladder"}
            assert {label.strip() for label in group.split(",")} <= known, expression
    assert len(seen) > 15
    assert set(OF_RABBITMQ) < seen
    for each in json.loads(DASHBOARD.read_text(encoding="utf-8"))["templating"]["list"]:
        if each["type"] == "query":
            ((name, label),) = re.findall(r"^label_values\((\w+), (\w+)\)$", each["query"]["query"])
            assert label in metrics[name]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        (
            'sum by (queue) (rate(a_total{queue=~"b|c"}[5m])) / on (queue) d > 0.5 unless e',
            {"a_total", "d", "e"},
        ),
        ('label_replace(up{x="}"}, "a", "$1", "b", "(.+)") or vector(0)', {"up"}),
        ("scalar(max(a:b)) - c offset 1h", {"a:b", "c"}),
    ],
)
def test_what_an_expression_names_is_found(expression: str, names: set[str]) -> None:
    """Or a name would pass that nobody has looked at."""
    assert named(expression) == names


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


def test_the_page_is_as_little_exposed_as_the_consumer() -> None:
    """And its command is one, with the token from a file that only root can read."""
    page = WEB_UNIT.read_text(encoding="utf-8")
    consumer = set(UNIT.partition("DynamicUser")[2].splitlines()) - {"LimitNOFILE=65536"}
    assert set(page.partition("DynamicUser")[2].splitlines()) == consumer
    (started,) = re.findall(r"^ExecStart=\S+/taskqueue web (.+)$", page, re.MULTILINE)
    (name,) = re.findall(r"^LoadCredential=([^:]+):", page, re.MULTILINE)
    assert started == f"--token-file ${{CREDENTIALS_DIRECTORY}}/{name}"
    command = get_command(module("web").commands)
    context = command.make_context("web", started.split())
    assert not context.args, "all of it is read"


@pytest.mark.parametrize("path", [RUN_UNIT, WEB_UNIT], ids=lambda path: path.stem)
def test_systemd_takes_the_unit_and_finds_little_exposed(path: Path, tmp_path: Path) -> None:
    """By systemd's own words, where it is there; the command is elsewhere on this machine."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze")
    unit = tmp_path / path.name
    text = path.read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/taskqueue/bin/taskqueue", str(shutil.which("true"))))
    for arguments in (["verify", "--man=no"], ["security", "--offline=true", "--no-pager", "--threshold=20"]):
        done = subprocess.run(
            [tool, *arguments, str(unit)], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
