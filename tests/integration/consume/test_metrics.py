"""The page as Prometheus and others read it, over a real socket; no broker."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any

import pytest
import urllib3
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from sandbox.node import free_ports
from taskqueue.consume import watch
from taskqueue.consume.health import QueueReport, Report
from taskqueue.consume.metrics import Metrics, NullMetrics
from taskqueue.errors import ConfigError
from taskqueue.events import DEAD, DONE, MOVED, POSTPONED, RETRIED, ROLLED_BACK, SENT, WAITING, Event
from tests.support.stage import PATIENCE

Start = Callable[[str | None], tuple[Metrics, watch.Watch]]


@pytest.fixture
def address() -> str:
    """Give an address on loopback that nobody listens on."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def taken() -> Iterator[str]:
    """Give an address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def start() -> Iterator[Start]:
    """Give what starts a page; it ends with the test."""
    with ExitStack() as stack:

        def started(address: str | None) -> tuple[Metrics, watch.Watch]:
            metrics, watched = stack.enter_context(watch.one(address))
            return metrics, watched or (lambda _report: None)

        yield started


def get(address: str, path: str = "/metrics") -> tuple[int, bytes]:
    """Read one page: its status and its body."""
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", f"http://{address}{path}", timeout=PATIENCE, retries=False)
    return answer.status, answer.data


def scrape(address: str) -> dict[tuple[str, ...], float]:
    """Read the counts: values by a sample's name and its label values, in the order of the label names."""
    status, body = get(address)
    assert status == 200
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def ran(event: str, queue: str = "a", *, late: float = 0.0, **values: Any) -> Event:
    """Make the event of a request that was made."""
    return Event(event, queue, "id", lateness=late, **{"seconds": 0.25, "status": 200, **values})


def count(metrics: Metrics, event: Event) -> None:
    """Have an event counted."""
    for listener in metrics.listeners:
        listener(event)


def test_the_page_shows_what_was_counted(start: Start, address: str) -> None:
    """By queue: how late, how long, how it ended, and what was answered."""
    metrics, _ = start(address)
    count(metrics, ran(DONE, late=0.02))
    count(metrics, ran(RETRIED, late=0.3, status=503, seconds=1.5))
    count(metrics, ran(RETRIED, late=4.0, status=None))
    count(metrics, Event(DEAD, "b", "id", reason="expired"))
    count(metrics, ran(DEAD, "b", status=404, reason="failed"))
    metrics.reconnecting()
    page = scrape(address)
    assert page["taskqueue_attempts_total", "done", "a", "2xx"] == 1
    assert page["taskqueue_attempts_total", "retried", "a", "5xx"] == 1
    assert page["taskqueue_attempts_total", "retried", "a", "error"] == 1
    assert page["taskqueue_attempts_total", "dead", "b", "4xx"] == 1
    assert page["taskqueue_lateness_seconds_count", "a"] == 3
    assert page["taskqueue_lateness_seconds_sum", "a"] == pytest.approx(4.32)
    assert page["taskqueue_request_duration_seconds_count", "a"] == 3
    assert page["taskqueue_request_duration_seconds_sum", "a"] == pytest.approx(2.0)
    assert page["taskqueue_request_duration_seconds_count", "b"] == 1
    assert page["taskqueue_dead_total", "b", "expired"] == 1
    assert page["taskqueue_dead_total", "b", "failed"] == 1
    assert page["taskqueue_reconnects_total",] == 1
    assert page["taskqueue_build_info", version("taskqueue")] == 1


def test_what_is_no_attempt_is_not_counted_as_one(start: Start, address: str) -> None:
    """A task that waits for its turn has no request, no length, and is late only once it runs."""
    metrics, _ = start(address)
    count(metrics, Event(POSTPONED, "a", "id", reason="per_host", next=5.0))
    for event in (WAITING, MOVED, ROLLED_BACK, SENT):
        count(metrics, Event(event, "a", "id"))
    page = scrape(address)
    assert page["taskqueue_postponed_total", "a", "per_host"] == 1
    for name in ("early", "moved", "rolled_back", "sent"):
        assert page[f"taskqueue_{name}_total", "a"] == 1
    assert not [
        key
        for key in page
        if key[0].startswith(("taskqueue_attempts", "taskqueue_request", "taskqueue_late"))
    ]


def test_probes_and_schedules_begin_at_zero_and_are_counted(start: Start, address: str) -> None:
    """A probe is counted where it came; so a sum over processes is the number of probes."""
    metrics, _ = start(address)
    metrics.probing("a")
    metrics.scheduled("a", "nightly")
    page = scrape(address)
    assert page["taskqueue_probe_lateness_seconds_count", "a"] == 0
    assert page["taskqueue_schedule_missed_total", "a", "nightly"] == 0
    metrics.probed("a", 0.02)
    metrics.probed("a", 40.0)
    metrics.scheduled("a", "nightly", enqueued=1, missed=3)
    page = scrape(address)
    assert page["taskqueue_probe_lateness_seconds_count", "a"] == 2
    assert page["taskqueue_probe_lateness_seconds_bucket", "a", "10.0"] == 1
    assert page["taskqueue_schedule_enqueued_total", "a", "nightly"] == 1
    assert page["taskqueue_schedule_missed_total", "a", "nightly"] == 3


def test_the_page_follows_what_stands_now(start: Start, address: str) -> None:
    """The connection, and each queue; counters begin at zero, so that the first failure is a rise."""
    _, show = start(address)
    show(Report(connected=True, blocked=True, stopping=False, queues={"q": QueueReport(True, 3)}))  # noqa: FBT003
    page = scrape(address)
    assert page["taskqueue_broker_connected",] == page["taskqueue_broker_blocked",] == 1
    assert page["taskqueue_running", "q"] == 3
    assert (page["taskqueue_consuming", "q"], page["taskqueue_paused", "q"]) == (1, 0)
    assert page["taskqueue_attempts_total", "done", "q", "2xx"] == 0
    assert page["taskqueue_dead_total", "q", "failed"] == 0
    paused = QueueReport(consumed=True, paused=True)
    show(Report(connected=False, blocked=False, stopping=False, queues={"q": paused}))
    page = scrape(address)
    assert page["taskqueue_broker_connected",] == page["taskqueue_broker_blocked",] == 0
    assert page["taskqueue_running", "q"] == 0
    assert (page["taskqueue_consuming", "q"], page["taskqueue_paused", "q"]) == (0, 1)


def test_long_requests_and_late_tasks_are_told_apart(start: Start, address: str) -> None:
    """Up to the longest timeout there is, and an hour's backlog."""
    metrics, _ = start(address)
    count(metrics, ran(RETRIED, "q", late=900, seconds=1400))
    page = scrape(address)
    assert page["taskqueue_lateness_seconds_bucket", "600.0", "q"] == 0
    assert page["taskqueue_lateness_seconds_bucket", "1500.0", "q"] == 1
    assert page["taskqueue_request_duration_seconds_bucket", "600.0", "q"] == 0
    assert page["taskqueue_request_duration_seconds_bucket", "1500.0", "q"] == 1


def test_health_says_alive_and_ready_with_reasons(start: Start, address: str) -> None:
    """200 or 503, and JSON; whether it is alive does not hang on the broker."""
    _, show = start(address)
    show(Report(connected=False, blocked=False, stopping=False, queues={}))
    status, body = get(address, "/healthz")
    assert (status, json.loads(body)) == (200, {"ok": True, "reasons": []})
    status, body = get(address, "/readyz")
    assert status == 503
    assert json.loads(body) == {"ok": False, "reasons": ["not connected to the broker"], "paused": []}
    queues = {"a": QueueReport(consumed=True), "b": QueueReport(consumed=False, paused=True)}
    show(Report(connected=True, blocked=False, stopping=False, queues=queues))
    status, body = get(address, "/readyz")
    assert (status, json.loads(body)) == (200, {"ok": True, "reasons": [], "paused": ["b"]})


def test_another_path_says_what_there_is(start: Start, address: str) -> None:
    """And / is the counts, for whoever looks with a browser."""
    start(address)
    assert get(address, "/nothing") == (404, b"there is /metrics, /healthz and /readyz\n")
    assert get(address, "/")[1] == get(address)[1]


def test_the_page_can_stand_on_ipv6(start: Start) -> None:
    """With the host in brackets, as in a URL."""
    address = f"[::1]:{free_ports(1)[0]}"
    start(address)[0].reconnecting()
    assert scrape(address)["taskqueue_reconnects_total",] == 1


def test_a_queue_of_any_name_has_its_numbers(start: Start, address: str) -> None:
    """Quotes, line ends and backslashes in a name don't break the page of the others."""
    name = 'a"b\\c\nd}é'
    count(start(address)[0], Event(MOVED, name, "id"))
    assert scrape(address)["taskqueue_moved_total", name] == 1


def test_two_pages_count_apart(start: Start, address: str) -> None:
    """There is no registry that they share, and nothing is left in the library's own."""
    other = f"127.0.0.1:{free_ports(1)[0]}"
    (first, _), _second = start(address), start(other)
    first.reconnecting()
    assert scrape(address)["taskqueue_reconnects_total",] == 1
    assert scrape(other)["taskqueue_reconnects_total",] == 0
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("taskqueue")]


def test_an_address_that_is_taken_is_named(start: Start, taken: str) -> None:
    """As a fault of the configuration: another process has it."""
    with pytest.raises(ConfigError, match=rf"^metrics: can't listen on {taken}: "):
        start(taken)


def test_an_address_of_another_machine_is_named(start: Start) -> None:
    """As a fault of the configuration."""
    with pytest.raises(ConfigError, match=r"^metrics: can't listen on 192\.0\.2\.1:9100: "):
        start("192.0.2.1:9100")


def test_without_the_extra_the_error_says_what_to_install(
    start: Start, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing listens."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'taskqueue\[metrics\]'"):
        start(address)
    host, _, port = address.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=PATIENCE)


def test_without_an_address_nothing_is_counted_or_imported(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works where the extra is missing."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    metrics, show = start(None)
    assert isinstance(metrics, NullMetrics)
    assert not metrics.listeners
    metrics.reconnecting()
    show(Report(connected=True, blocked=False, stopping=False, queues={}))
