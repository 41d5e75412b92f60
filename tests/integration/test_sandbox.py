"""The ground that every other test stands on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import amqp
import pytest
import urllib3

from sandbox.broker import Broker, BrokerError, Server, answers_amqp
from sandbox.receiver import Answer, Receiver
from tests.conftest import connect

QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture
def http() -> urllib3.PoolManager:
    """Give a client that tries once."""
    return urllib3.PoolManager(retries=False)


def declare(url: str, queue: str) -> None:
    """Declare a quorum queue."""
    with connect(url) as connection:
        connection.channel().queue_declare(queue, durable=True, auto_delete=False, arguments=QUORUM)


def publish(url: str, queue: str, body: str) -> None:
    """Put a persistent message in a queue, confirmed."""
    with connect(url) as connection:
        connection.channel().basic_publish(amqp.Message(body, delivery_mode=2), routing_key=queue)


def take(url: str, queue: str) -> str | None:
    """Take a message out of a queue."""
    with connect(url) as connection:
        message = connection.channel().basic_get(queue, no_ack=True)
        return None if message is None else str(message.body)


def test_the_session_broker_carries_a_message(broker: Server, queue_name: str) -> None:
    """The message that is taken is the one that was published."""
    declare(broker.url, queue_name)
    publish(broker.url, queue_name, "hello")

    assert take(broker.url, queue_name) == "hello"


@pytest.mark.slow
def test_a_node_keeps_its_data_until_it_is_stopped_and_then_leaves_nothing() -> None:
    """Restart and SIGKILL keep port and messages; after stop there is no process and no folder."""
    with Broker.start() as node:
        declare(node.url, "kept")
        node.restart()
        publish(node.url, "kept", "hello")

        node.kill()
        assert not answers_amqp(node.port)

        node.restart()
        assert take(node.url, "kept") == "hello"
        assert "kept" in node.ctl("list_queues", "name")
        process, folder = Path(f"/proc/{node.pid}"), node.folder
        assert process.exists()

    assert not answers_amqp(node.port)
    assert not process.exists()
    assert not folder.exists()


def test_a_node_that_cannot_start_says_why() -> None:
    """The error holds the end of the node's own log."""
    with pytest.raises(BrokerError, match="no_such_key"):
        Broker.start(config=["no_such_key = 1"])


def test_statuses_come_one_after_another_and_the_last_one_stays(
    receiver: Receiver, http: urllib3.PoolManager
) -> None:
    """A list answers in its order, over one kept-alive connection."""
    receiver.answer("/a", [500, Answer(429, {"Retry-After": "7"}, b"later"), 200])

    answers = [http.request("POST", f"{receiver.url}/a?x={i}", body=b"{}") for i in range(4)]

    assert [answer.status for answer in answers] == [500, 429, 200, 200]
    assert (answers[1].headers["Retry-After"], answers[1].data) == ("7", b"later")
    assert [request.path for request in receiver.to("/a")] == ["/a?x=0", "/a?x=1", "/a?x=2", "/a?x=3"]
    assert {request.connection for request in receiver.requests} == {1}


def test_an_answer_can_be_computed_from_the_request(receiver: Receiver, http: urllib3.PoolManager) -> None:
    """A callable sees method, headers and body."""
    receiver.answer("/c", lambda request: 201 if request.json == [1] and request.method == "PUT" else 400)

    assert http.request("PUT", f"{receiver.url}/c", json=[1]).status == 201
    assert http.request("POST", f"{receiver.url}/c", json=[1]).status == 400


def test_a_connection_can_be_closed_without_an_answer(receiver: Receiver, http: urllib3.PoolManager) -> None:
    """The request is recorded, and the client gets nothing for it."""
    receiver.answer("/gone", Answer(close=True))

    with pytest.raises(urllib3.exceptions.ProtocolError):
        http.request("POST", f"{receiver.url}/gone")

    assert len(receiver.to("/gone")) == 1


def test_a_held_request_is_answered_once_it_is_let_go(receiver: Receiver, http: urllib3.PoolManager) -> None:
    """Between the request and the event there is no answer."""
    let_go = threading.Event()
    receiver.answer("/held", Answer(204, hold=let_go))

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(http.request, "POST", f"{receiver.url}/held")
        receiver.wait_for(1, path="/held")
        assert not answer.done()
        let_go.set()
        assert answer.result(60).status == 204


def test_what_does_not_come_is_a_timeout_that_tells_what_came(
    receiver: Receiver, http: urllib3.PoolManager
) -> None:
    """A test that waits in vain shows the requests that there were."""
    http.request("POST", f"{receiver.url}/other")

    with pytest.raises(TimeoutError, match="POST /other"):
        receiver.wait_for(1, timeout=0.05, path="/wanted")
