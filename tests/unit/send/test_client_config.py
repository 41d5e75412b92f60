"""A program that sends needs to know where to, and nothing of how it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taskqueue import Client, ConfigError
from taskqueue.settings import load
from taskqueue.settings.keys import GLOBAL_KEYS, OF_CONSUMERS, QUEUE_KEYS

INI = """
server = amqp://127.0.0.1:9/
management_url = http://me:${MANAGEMENT_PASSWORD}@127.0.0.1:15672/
levels = 3

[mail]
ladder = shared
handlers = headers, bearer, signing
bearer_token = ${API_TOKEN}
signing_secret = ${SIGNING_SECRET}
request_ca_file = /nowhere/ca.pem

[plain]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give an ini whose secrets are the consumer's alone."""
    path = tmp_path / "taskqueue.ini"
    path.write_text(INI)
    return path


def test_a_client_needs_no_secret_of_the_consumer(path: Path) -> None:
    """Its variables need not be there, nor what only they would make complete."""
    with pytest.raises(ConfigError, match="MANAGEMENT_PASSWORD is not set"):
        load(path, {})
    settings = load(path, {}, sending=True)
    assert settings.way("mail").ladder == "shared"
    assert settings.levels == 3
    assert settings.queues["mail"].handlers == ("headers", "bearer", "signing")
    assert settings.queues["mail"].bearer_token is None
    assert settings.management_url is None


def test_a_client_that_is_made_connects_to_nothing(path: Path) -> None:
    """A web application makes it where it is imported, in a process that forks later."""
    program = f"""
import socket, threading
from taskqueue import Client
def refuse(*given): raise AssertionError("a connection")
socket.socket.connect = socket.socket.connect_ex = refuse
client = Client.from_config({str(path)!r})
assert threading.active_count() == 1
client.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env={})


def test_what_a_sender_needs_is_checked_as_ever(path: Path) -> None:
    """A wrong key, a double one, a ladder that can't be."""
    for wrong, words in (
        ("retry_limmit = 3", "retry_limmit: is not a key"),
        ("rate = 1/s\nrate = 2/s", "rate: stands on line"),
        ("ladder = amq.x", "ladder: is a name that belongs to"),
    ):
        path.write_text(f"{INI}{wrong}\n")
        with pytest.raises(ConfigError, match=words):
            Client.from_config(path)


def test_every_key_is_either_the_consumers_or_a_senders() -> None:
    """A new one is the consumer's, unless it is named."""
    assert {*GLOBAL_KEYS, *QUEUE_KEYS} > OF_CONSUMERS
    assert {"signing_secret", "bearer_token", "basic_auth", "proxy", "management_url"} < OF_CONSUMERS
    assert OF_CONSUMERS.isdisjoint({"server", "history"})


def test_a_queue_that_is_in_no_section_is_refused(path: Path) -> None:
    """As by the command line."""
    with Client.from_config(path) as client, pytest.raises(ConfigError, match="in no section"):
        client.send("/x", "nope")
