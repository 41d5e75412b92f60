"""The examples that send, where their language and its library are there: what they send runs when due."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.broker import Server
from sandbox.receiver import Receiver
from tests.support import command
from tests.support.stage import PATIENCE, Stage
from tests.support.visited import TOKEN, served

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[[str], int]


def curl(broker: Server, queue: str) -> int:
    """Send by the management API."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine: curl/publish.sh was not run")
    if broker.management_url is None:
        pytest.skip("no management API of this broker: curl/publish.sh was not run")
    return ran({"MANAGEMENT_URL": broker.management_url}, str(EXAMPLES / "curl" / "publish.sh"), queue)


LIBRARIES = {
    "node": ("node", "-e", "require.resolve('amqplib')"),
    "go": ("go", "doc", "github.com/rabbitmq/amqp091-go", "DeferredConfirmation.WaitContext"),
    "php": (
        "php",
        "-r",
        "@include 'vendor/autoload.php'; exit(class_exists('PhpAmqpLib\\Wire\\AMQPTable') ? 0 : 1);",
    ),
    "ruby": ("ruby", "-e", "require 'bunny'"),
    "java": ("javap", "com.rabbitmq.client.ConnectionFactory"),
}
"""What tells whether a language and its library are there: by NODE_PATH, CLASSPATH and the like."""
PROGRAMS = {
    "node": ("node", "publish.mjs"),
    "go": ("go", "run", "publish.go"),
    "php": ("php", "publish.php"),
    "ruby": ("ruby", "publish.rb"),
    "java": ("java", "Publish.java"),
}


def by_amqp(language: str) -> Callable[[Server, str], int]:
    """Send by the example of a language."""

    def send(broker: Server, queue: str) -> int:
        probe, (*program, name) = LIBRARIES[language], PROGRAMS[language]
        if (
            shutil.which(probe[0]) is None
            or subprocess.run(probe, capture_output=True, check=False).returncode
        ):
            pytest.skip(f"no {language} with its library on this machine: {language}/{name} was not run")
        # A lone / at the end is the virtual host "" for some.
        address = broker.url.removesuffix("/")
        return ran({"AMQP_URL": address}, *program, str(EXAMPLES / language / name), queue)

    return send


def ran(environment: dict[str, str], *arguments: str) -> int:
    """Run an example, and give its exit code."""
    ended = subprocess.run(
        arguments, env={**os.environ, **environment}, check=False, timeout=PATIENCE, capture_output=True
    )
    assert ended.returncode == 0 or b"not sent" in ended.stderr, ended.stderr.decode()
    return ended.returncode


EACH = pytest.mark.parametrize("sends", [curl, *map(by_amqp, LIBRARIES)], ids=["curl", *LIBRARIES])


@pytest.mark.slow
@EACH
def test_what_an_example_sends_runs(
    sends: Callable[[Server, str], int], broker: Server, stage: Stage, receiver: Receiver
) -> None:
    """One by its countdown, the other from the ladder; with an id of its own each."""
    assert sends(broker, stage.name) == 0
    # One waits for a consumer to put it there, the other waits already.
    assert (stage.depth(), stage.waiting()) == (1, 1)
    with stage.connection() as connection:
        channel = connection.channel()
        _, properties, body = channel.basic_get(stage.name)
        assert properties is not None
        assert body is not None
        assert json.loads(body)["countdown"] == 20
        assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
        assert properties.message_id
        assert properties.timestamp
    stage.consume()
    (request,) = receiver.wait_for(1, PATIENCE, path="/reminder")
    assert request.body == b'{"user": 7}'
    (request,) = receiver.wait_for(1, PATIENCE, path="/welcome")
    assert request.at >= properties.timestamp + 20


@EACH
def test_a_queue_that_is_not_declared_is_told(
    sends: Callable[[Server, str], int], broker: Server, queue_name: str
) -> None:
    """Nothing is lost without a word."""
    assert sends(broker, queue_name) == 1


def test_a_task_is_posted_without_amqp(stage: Stage, receiver: Receiver) -> None:
    """To the page, with its token and a key that is its id; a queue that nobody knows is told."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine: curl/post.sh was not run")
    program = str(EXAMPLES / "curl" / "post.sh")
    with served(stage.settings) as visitor:
        environment = {"TASKQUEUE_WEB": visitor.base, "TASKQUEUE_WEB_TOKEN": TOKEN}
        assert ran(environment, program, "nowhere") == 1
        assert ran({**environment, "TASKQUEUE_WEB_TOKEN": "another"}, program, stage.name) == 1
        assert (stage.depth(), stage.waiting()) == (0, 0)
        assert ran(environment, program, stage.name) == 0
    assert (stage.depth(), stage.waiting()) == (0, 1)
    command.ran(stage.path, "waiting", "run-now", stage.name, "--all", "--yes")
    stage.consume()
    (request,) = receiver.wait_for(1, PATIENCE, path="/welcome")
    assert request.body == b'{"user": 7}'
    assert request.headers["Taskqueue-Id"].startswith("welcome-")
