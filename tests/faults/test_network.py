"""The network between taskqueue and the broker: cut, stalled, slow, closed on one side."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from sandbox.broker import Server
from sandbox.proxy import Filter, Proxy
from sandbox.receiver import Answer, Receiver
from taskqueue import Client
from taskqueue.broker import channel as confirms
from taskqueue.errors import PublishFailed
from tests.support.stage import PATIENCE, Stage, eventually

HEARTBEAT = "?heartbeat=2&stack_timeout=3"
_METHOD, _BASIC_ACK = 1, (60, 80)
_FRAME = struct.Struct(">BHL")


@pytest.fixture
def proxy(broker: Server) -> Iterator[Proxy]:
    """Give a proxy before the shared broker."""
    with Proxy(_port(broker)) as proxy:
        yield proxy


def test_a_cut_connection_is_made_again_and_every_task_runs(
    proxy: Proxy, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Cut while tasks run, retry and wait: each runs to its end."""
    stage = staged(proxy.url)
    process = stage.run()
    receiver.answer("/flaky", lambda request: 200 if int(request.headers["Taskqueue-Attempt"]) > 2 else 500)
    receiver.answer("/slow", Answer(delay=1))
    with stage.client() as client:
        ids = {client.send(path, stage.name) for path in ("/flaky", "/slow", "/plain") for _ in range(20)}
        receiver.wait_for(10)
        for times in (1, 2, 3):
            proxy.cut()
            process.wait_for("connection lost", times)
            process.wait_for("consuming from", times + 1)
        # The client's connection was cut as well: it makes a new one by itself.
        ids.add(client.send("/after", stage.name))
    _wait_for_success(receiver, ids)
    stage.settle()


def test_a_stalled_connection_is_noticed_by_its_heartbeat(
    proxy: Proxy, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """No byte comes and no error either: two heartbeats later the consumer says so and connects again."""
    stage = staged(proxy.url + HEARTBEAT)
    process = stage.run()
    proxy.stall()
    process.wait_for("connection lost")
    # New connections stall too, each for a bounded time, until the network is back.
    process.wait_for("can't connect")
    proxy.resume()
    process.wait_for("consuming from", times=2)
    stage.publish({"url": "/x"})
    receiver.wait_for(1)
    stage.settle()


def test_a_half_closed_connection_is_left_and_made_again(
    proxy: Proxy, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """The broker's side has ended, ours still takes bytes: nothing is waited for on it."""
    stage = staged(proxy.url)
    process = stage.run()
    proxy.half_close()
    process.wait_for("connection lost")
    process.wait_for("consuming from", times=2)
    stage.publish({"url": "/x"})
    receiver.wait_for(1)
    stage.settle()


def test_a_slow_network_changes_nothing(
    proxy: Proxy, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Every piece takes 20 ms: each task still runs exactly once."""
    stage = staged(proxy.url)
    proxy.slow(0.02)
    stage.run()
    with stage.client() as client:
        ids = client.send_many({"url": "/x", "queue": stage.name, "countdown": n / 50} for n in range(50))
    requests = receiver.wait_for(50, timeout=PATIENCE)
    stage.settle()
    assert sorted(request.headers["Taskqueue-Id"] for request in requests) == sorted(ids)


def test_a_consumer_stops_in_time_while_the_network_is_stalled(
    proxy: Proxy, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """What runs is finished, nothing can be settled, and after its grace it ends all the same."""
    stage = staged(proxy.url)
    release = threading.Event()
    receiver.answer("/slow", [Answer(hold=release), 200])
    process = stage.run("--grace", "2")
    stage.publish({"url": "/slow"})
    receiver.wait_for(1)
    proxy.stall()
    begin = time.monotonic()
    process.stop()
    assert time.monotonic() - begin < 2 + 10
    release.set()
    proxy.resume()
    stage.run()
    receiver.wait_for(2)
    stage.settle()


def test_a_retry_whose_confirm_never_comes_is_published_again(
    broker: Server, staged: Callable[..., Stage], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its confirm is lost on the way: no ack, so it is there twice, not never; no attempt is made again."""
    monkeypatch.setattr(confirms, "CONFIRM_DEADLINE", 2.0)
    silent = threading.Event()
    silent.set()
    receiver.answer("/x", lambda request: 200 if int(request.headers["Taskqueue-Attempt"]) > 1 else 500)
    stage = staged()
    direct = stage.settings
    with Proxy(_port(broker), filtered=lambda: without_confirms(silent)) as proxy:
        stage.settings = replace(direct, servers=(proxy.url,))
        stage.consume()
        stage.settings = direct
        stage.publish({"url": "/x"}, message_id="m")
        receiver.wait_for(3, PATIENCE)
        silent.clear()
        consumer = stage._consumers[0][0]
        eventually(lambda: all(each.idle for each in consumer._subscriptions), "the task settled")
        eventually(lambda: stage.depth() + stage.waiting() == 0, "every copy run")
    attempts = [request.headers["Taskqueue-Attempt"] for request in receiver.requests]
    assert attempts[0] == "1"
    assert set(attempts[1:]) == {"2"}


def test_a_send_whose_confirm_never_comes_raises_in_time(
    broker: Server, staged: Callable[..., Stage]
) -> None:
    """It says how many were confirmed and what to do; it never hangs."""
    stage = staged()
    silent = threading.Event()
    silent.set()
    with (
        Proxy(_port(broker), filtered=lambda: without_confirms(silent)) as proxy,
        Client(proxy.url, timeout=2) as client,
    ):
        begin = time.monotonic()
        with pytest.raises(PublishFailed, match="0 confirmed, 1 not"):
            client.send("/x", stage.name)
        assert time.monotonic() - begin < 2 + 10


def test_a_send_on_a_stalled_connection_raises_in_time_and_works_afterwards(
    proxy: Proxy, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """A dead connection is noticed, made again, and the next send goes through."""
    stage = staged(proxy.url + HEARTBEAT)
    with Client(proxy.url + HEARTBEAT, timeout=3) as client:
        client.send("/first", stage.name)
        proxy.stall()
        begin = time.monotonic()
        with pytest.raises(PublishFailed):
            client.send("/second", stage.name)
        assert time.monotonic() - begin < 3 + 10
        proxy.resume()
        client.send("/third", stage.name)
    stage.run()
    receiver.wait_for(1, path="/third")


def without_confirms(silent: threading.Event) -> Filter:
    """Drop every basic.ack of the broker while `silent` is set, and let all other frames through."""
    buffer = b""

    def filtered(data: bytes) -> bytes:
        nonlocal buffer
        buffer += data
        passed = b""
        while len(buffer) >= _FRAME.size:
            kind, _, size = _FRAME.unpack_from(buffer)
            whole = _FRAME.size + size + 1
            if len(buffer) < whole:
                break
            frame, buffer = buffer[:whole], buffer[whole:]
            confirm = kind == _METHOD and struct.unpack_from(">HH", frame, _FRAME.size) == _BASIC_ACK
            if not (confirm and silent.is_set()):
                passed += frame
        return passed

    return filtered


def _port(broker: Server) -> int:
    return urlsplit(broker.url).port or 5672


def _wait_for_success(receiver: Receiver, ids: set[str]) -> None:
    """Wait until each task had its last attempt answered, as far as the receiver can tell."""

    def answered() -> bool:
        final = {"/flaky": 3, "/x": 2}
        return ids <= {
            request.headers["Taskqueue-Id"]
            for request in receiver.requests
            if int(request.headers["Taskqueue-Attempt"]) >= final.get(request.path, 1)
        }

    eventually(answered, "every task run to its end")
