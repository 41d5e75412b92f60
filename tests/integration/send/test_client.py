"""The client: confirmed, onto the ladder, from threads and forks, over a broker that comes and goes."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue import BrokerUnreachable, Client, ConfigError, InvalidTask, NotDeclared, PublishFailed
from tests.support.alarms import Alarm
from tests.support.stage import PATIENCE, Stage, eventually


def test_every_field_goes_into_the_message(stage: Stage) -> None:
    """As any program would write it, and the due time beside it."""
    due = time.time()
    sent = stage.send(
        "/x", payload={"a": 1}, max_retries=3, roll_back="/undo", expires=9e9, metadata={"m": 1},
        id="my-id", priority=4, headers={"traceparent": "00-ab"},
    )  # fmt: skip
    assert sent == "my-id"
    with stage.connection() as connection:
        method, properties, body = connection.channel().basic_get(stage.name, auto_ack=True)
    assert method is not None
    assert body is not None
    assert properties is not None
    assert properties.headers is not None
    assert json.loads(body) == {
        "url": "/x", "payload": {"a": 1}, "max_retries": 3, "roll_back": "/undo", "expires": 9e9,
        "metadata": {"m": 1},
    }  # fmt: skip
    assert (properties.message_id, properties.priority, properties.delivery_mode) == ("my-id", 4, 2)
    assert properties.content_type == "application/json"
    assert properties.headers["traceparent"] == "00-ab"
    assert properties.headers["taskqueue-due"] == pytest.approx(due * 1000, abs=5000)


def test_no_payload_is_an_empty_object_and_none_is_null(stage: Stage, receiver: Receiver) -> None:
    """The two are not the same."""
    stage.consume()
    stage.send("/absent")
    stage.send("/null", payload=None)
    bodies = {request.path: request.body for request in receiver.wait_for(2)}
    assert bodies == {"/absent": b"{}", "/null": b"null"}


def test_send_many_streams_its_confirms_and_keeps_the_order_of_ids(stage: Stage) -> None:
    """More than a window of them, from a generator."""
    with stage.client() as client:
        ids = client.send_many({"url": "/x", "queue": stage.name, "id": str(n)} for n in range(2500))
    assert ids == [str(number) for number in range(2500)]
    assert stage.depth() == 2500


def test_threads_share_a_client(stage: Stage) -> None:
    """As the threads of a web server do."""
    failures: list[Exception] = []

    def work(client: Client, number: int) -> None:
        try:
            for n in range(25):
                client.send("/x", stage.name, id=f"{number}-{n}")
        except Exception as error:  # noqa: BLE001 whatever it is fails the test
            failures.append(error)

    with stage.client() as client:
        threads = [threading.Thread(target=work, args=(client, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert stage.depth() == 200


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_a_connection_of_its_own(stage: Stage) -> None:
    """A web server that loads the application and forks then: both sides send."""
    with stage.client() as client:
        client.send("/before", stage.name)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                client.send("/child", stage.name)
                code = 0
            finally:
                os._exit(code)
        client.send("/parent", stage.name)
        _, status = os.waitpid(child, 0)
        client.send("/after", stage.name)
    assert os.waitstatus_to_exitcode(status) == 0
    assert stage.depth() == 4


def test_an_invalid_task_raises_before_anything_is_sent(stage: Stage) -> None:
    """With the words that the dead queue would have."""
    with pytest.raises(InvalidTask, match="countdown: must be from 0"):
        stage.send("/x", countdown=-1)
    with pytest.raises(InvalidTask, match="can't be written as JSON"):
        stage.send("/x", payload=float("nan"))
    with pytest.raises(TypeError, match="send takes no delay"), stage.client() as client:
        client.send_many([{"url": "/x", "queue": stage.name, "delay": 3}])
    assert stage.depth() == 0


def test_a_queue_that_is_not_configured_or_not_declared_is_said(stage: Stage) -> None:
    """Whether its work queue or its ladder is missing."""
    with stage.client() as client, pytest.raises(ConfigError, match="queue 'nope' is in no section"):
        client.send("/x", "nope")
    with Client(stage.settings.servers[0]) as client:
        with pytest.raises(NotDeclared, match="queue 'nope' is not declared"):
            client.send("/x", "nope")
        with pytest.raises(NotDeclared, match="queue 'nope' is not declared"):
            client.send("/x", "nope", countdown=5)
        # And the next one is sent as if nothing had been.
        client.send("/x", stage.name)
    assert stage.depth() == 1


def test_no_broker_raises_soon() -> None:
    """Naming the host and never the password."""
    began = time.monotonic()
    nobody = Client("amqp://me:hunter2@127.0.0.1:9/", timeout=10 * PATIENCE)
    with nobody as client, pytest.raises(BrokerUnreachable) as caught:
        client.send("/x")
    assert time.monotonic() - began < PATIENCE
    assert "127.0.0.1:9" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_dead_connection_is_noticed_and_made_again(private_broker: Broker, own_stage: Stage) -> None:
    """A send over a restart of the broker returns after a confirm, or raises; it never hangs."""
    with own_stage.client() as client:
        client.send("/before", own_stage.name)
        client._timeout = 2 * PATIENCE
        private_broker.kill()
        back = threading.Thread(target=private_broker.restart)
        back.start()
        client.send("/over", own_stage.name)
        back.join()
        private_broker.kill()
        client._timeout = 1.0
        with pytest.raises((PublishFailed, BrokerUnreachable)):
            client.send("/down", own_stage.name)
        private_broker.restart()
    eventually(lambda: own_stage.depth() >= 2, "both confirmed tasks in the queue")


def test_what_has_failed_is_not_kept_for_a_broker_that_is_down(
    private_broker: Broker, own_stage: Stage
) -> None:
    """A web server that goes on for hours without its broker must not fill up with lost tasks."""
    with own_stage.client() as client:
        client.send("/before", own_stage.name)
        private_broker.kill()
        client._timeout = 0.05
        for _ in range(20):
            with pytest.raises(PublishFailed):
                client.send("/down", own_stage.name)
        sender = client._producer._sender
        assert sender is not None
        eventually(lambda: not sender._waiting, "nothing kept")
        private_broker.restart()
        client._timeout = PATIENCE
        client.send("/after", own_stage.name)
    assert own_stage.depth() == 2


def test_what_has_failed_over_an_alarm_does_not_go_out_after_it(
    private_broker: Broker, own_stage: Stage
) -> None:
    """The error tells of the alarm; nothing fills the memory until it is over: the broker reads nothing."""
    with own_stage.client() as client:
        client.send("/before", own_stage.name)
        with Alarm(private_broker):
            # The broker tells of its alarm where one publishes, so the first is on its way.
            for path, timeout in (("/first", 10.0), ("/second", 0.5), ("/third", 0.5)):
                client._timeout = timeout
                with pytest.raises(PublishFailed, match="raised an alarm"):
                    client.send(path, own_stage.name)
        client._timeout = PATIENCE
        client.send("/after", own_stage.name)
    assert own_stage.depth() == 3


def test_a_message_over_the_size_of_the_broker_fails_with_its_words(
    receiver: Receiver, tmp_path: Path
) -> None:
    """It does not take the others with it, nor is it sent for as long as the timeout lasts."""
    with Broker.start(config=["max_message_size = 1000"]) as node:
        stage = Stage(node.url, receiver, tmp_path).declare()
        with stage.client() as client:
            with pytest.raises(PublishFailed, match="larger than configured max size"):
                client.send("/x", stage.name, payload="x" * 2000)
            client.send("/x", stage.name)
        assert stage.depth() == 1


def test_the_longest_timeout_there_is_does_no_harm(stage: Stage) -> None:
    """Some write infinity for it."""
    with Client(stage.settings.servers[0], timeout=float("inf")) as client:
        client.send("/x", stage.name)
    assert stage.depth() == 1
