"""The metrics page as Prometheus reads it, over a real socket; no broker."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
import urllib3
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from sandbox.node import free_ports
from taskqueue.consume.metrics import Metrics, NullMetrics, started
from taskqueue.errors import ConfigError


@pytest.fixture
def address() -> str:
    """Give an address on loopback that nobody listens on."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def taken() -> Iterator[str]:
    """Give an address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def scrape(address: str) -> dict[tuple[str, ...], float]:
    """Read the page: values by a sample's name and its label values, in the order of the label names."""
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", f"http://{address}/metrics", timeout=5, retries=False)
    assert answer.status == 200
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.data.decode())
        for sample in family.samples
    }


def test_the_page_shows_what_was_counted(address: str) -> None:
    """By queue: how late, how long, how it ended, and what runs at this moment."""
    metrics = started(address)
    for lateness in (0.02, 0.3, 4.0):
        metrics.started("a", lateness)
    metrics.finished("a", "done", 0.25)
    metrics.finished("a", "retried", 1.5)
    metrics.started("b", 0.0)
    metrics.died("b", "expired")
    metrics.reconnecting()
    page = scrape(address)
    assert page["taskqueue_running", "a"] == 1
    assert page["taskqueue_running", "b"] == 1
    assert page["taskqueue_lateness_seconds_count", "a"] == 3
    assert page["taskqueue_lateness_seconds_sum", "a"] == pytest.approx(4.32)
    assert page["taskqueue_request_seconds_count", "a"] == 2
    assert page["taskqueue_request_seconds_sum", "a"] == pytest.approx(1.75)
    assert page["taskqueue_reconnects_total",] == 1
    ended = {
        key[1:] for key, value in page.items() if key[0].endswith("_total") and len(key) == 3 and value == 1
    }
    assert {frozenset(labels) for labels in ended} == {
        frozenset({"done", "a"}),
        frozenset({"retried", "a"}),
        frozenset({"expired", "b"}),
    }


def test_the_page_follows_what_happens(address: str) -> None:
    """A request that is over runs no more at the next reading."""
    metrics = started(address)
    metrics.started("q", 0)
    assert scrape(address)["taskqueue_running", "q"] == 1
    metrics.finished("q", "done", 0.1)
    assert scrape(address)["taskqueue_running", "q"] == 0


def test_long_requests_and_late_tasks_are_told_apart(address: str) -> None:
    """Up to the longest timeout there is, and an hour's backlog."""
    metrics = started(address)
    metrics.started("q", 900)
    metrics.finished("q", "retried", 1400)
    page = scrape(address)
    assert page["taskqueue_lateness_seconds_bucket", "600.0", "q"] == 0
    assert page["taskqueue_lateness_seconds_bucket", "1500.0", "q"] == 1
    assert page["taskqueue_request_seconds_bucket", "600.0", "q"] == 0
    assert page["taskqueue_request_seconds_bucket", "1500.0", "q"] == 1


def test_the_page_can_stand_on_ipv6() -> None:
    """With the host in brackets, as in a URL."""
    address = f"[::1]:{free_ports(1)[0]}"
    started(address).reconnecting()
    assert scrape(address)["taskqueue_reconnects_total",] == 1


def test_a_queue_of_any_name_has_its_numbers(address: str) -> None:
    """Quotes, line ends and backslashes in a name don't break the page of the others."""
    metrics = started(address)
    name = 'a"b\\c\nd}é'
    metrics.started(name, 1)
    assert scrape(address)["taskqueue_running", name] == 1


def test_two_pages_count_apart(address: str) -> None:
    """There is no registry that they share, and nothing is left in the library's own."""
    other = f"127.0.0.1:{free_ports(1)[0]}"
    first, _second = started(address), started(other)
    first.reconnecting()
    assert scrape(address)["taskqueue_reconnects_total",] == 1
    assert scrape(other)["taskqueue_reconnects_total",] == 0
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("taskqueue")]


def test_an_address_that_is_taken_is_named(taken: str) -> None:
    """As a fault of the configuration: another process has it."""
    with pytest.raises(ConfigError, match=rf"^metrics: can't listen on {taken}: "):
        started(taken)


def test_an_address_of_another_machine_is_named() -> None:
    """As a fault of the configuration."""
    with pytest.raises(ConfigError, match=r"^metrics: can't listen on 192\.0\.2\.1:9100: "):
        started("192.0.2.1:9100")


def test_without_the_extra_the_error_says_what_to_install(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing listens."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'taskqueue\[metrics\]'"):
        started(address)
    host, _, port = address.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_without_an_address_nothing_is_counted_or_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works where the extra is missing."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    metrics: Metrics = started(None)
    assert isinstance(metrics, NullMetrics)
    metrics.started("q", 1)
    metrics.finished("q", "done", 1)
    metrics.died("q", "failed")
    metrics.reconnecting()
