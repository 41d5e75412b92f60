"""`taskqueue check` on a real broker: what is wrong, what to do about it, and the exit code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from sandbox.broker import Server
from sandbox.receiver import Receiver
from taskqueue.broker.connect import connect, parsed_version, refuse_version, version
from taskqueue.declare.apply import declare
from taskqueue.errors import BrokerRefused
from taskqueue.settings import parse
from tests.conftest import connect as connect_apart
from tests.support.admin import PASSWORD, Admin
from tests.support.command import ran, read, run
from tests.support.silent import Silent
from tests.support.stage import Stage


@pytest.fixture
def admin(broker: Server) -> Iterator[Admin]:
    """Give a virtual host of the test's own, with queue `a` declared in it."""
    admin = Admin(broker)
    declare(parse(ini(admin.url), source="test", environ={}))
    yield admin
    admin.close()


def ini(server: str, **keys: Any) -> str:
    """Write a configuration of one small queue; the keyword arguments are global keys."""
    values = {"server": server, "levels": 2} | keys
    return "\n".join([*(f"{key} = {value}" for key, value in values.items()), "[a]", ""])


def config(folder: Path, text: str) -> Path:
    """Write a configuration file."""
    path = folder / "taskqueue.ini"
    path.write_text(text)
    return path


def failed(document: Any) -> dict[str, str]:
    """Give what each failed check found."""
    return {each["check"]: each["detail"] for each in document["checks"] if not each["ok"]}


def test_all_is_fine(admin: Admin, tmp_path: Path) -> None:
    """Everything that was looked at is ok, and nothing is left behind."""
    before = admin.names("queues"), admin.names("exchanges")
    path = config(tmp_path, ini(admin.url, management_url=admin.management_url))
    document = read(path, "check")
    assert document["ok"] is True
    assert [each["check"] for each in document["checks"]] == [
        "configuration",
        "requests",
        "broker",
        "version",
        "faults",
        "permissions",
        "declared",
        "leaders",
        "alarms",
        "advanced.config",
        "policies",
    ]
    assert (admin.names("queues"), admin.names("exchanges")) == before
    assert "declared" in ran(path, "check")


@pytest.mark.parametrize("missing", ["a", "a.dead", "a.wait.3s"])
def test_what_is_not_declared_is_named(admin: Admin, tmp_path: Path, missing: str) -> None:
    """One queue is enough to fail."""
    with connect_apart(admin.url) as connection:
        connection.channel().queue_delete(missing)
    document = read(config(tmp_path, ini(admin.url)), "check", code=1)
    told = failed(document)
    assert told.pop("declared") == f"missing: queue {missing}"
    # What waits for the work queue is held then; see test_inspect_held.
    assert list(told) == (["held"] if missing == "a" else [])
    assert "taskqueue declare" in str(document)


def test_other_settings_than_declared_are_found(admin: Admin, tmp_path: Path) -> None:
    """The configuration says classic, the broker has quorum queues."""
    document = read(config(tmp_path, ini(admin.url, queue_type="classic")), "check", code=1)
    assert "x-queue-type is 'quorum' and should be 'classic'" in failed(document)["declared"]


WHOLE = r"^a(\..*)?$"
WAYS = r"^a\.wait(\.due)?$"
SETTLE = r"^a\.(dead|wait|wait\.due|wait\.control)$"
NEITHER = "may neither declare nor consume nor send: no write permission on a.wait.due"


@pytest.mark.parametrize(
    ("permissions", "told"),
    [
        (("^a", "^a", "^a"), "may declare, consume, send"),
        (("^$", "^a", "^a"), rf"may consume, send: no configure permission on {WHOLE}"),
        (("^$", SETTLE, "^a$"), rf"may consume, send: no configure permission on {WHOLE}"),
        (("^$", WAYS, "^$"), "may send: no read permission on a and no write permission on a.dead"),
        (("^a", WAYS, "^a"), "may send: no write permission on a.dead"),
        (("^a", r"^a\.(dead|wait|wait\.due)$", "^a"), "may send: no write permission on a.wait.control"),
        (("^a", r"^a\.dead$", "^a$"),
         f"{NEITHER} and no write permission on a.wait"),
        (("^a", "^a", "^$"), "may send: no read permission on a"),
        # Which is asked for first: of the right to read nothing is said.
        (("^a", "^$", "^$"),
         f"{NEITHER} and no write permission on a.wait and no write permission on a.dead"),
    ],
)  # fmt: skip
def test_what_a_user_may_do_is_told_and_is_fine_where_it_may_consume(
    admin: Admin, tmp_path: Path, permissions: tuple[str, str, str], told: str
) -> None:
    """All that `taskqueue run` does, whoever has declared it; nothing is left behind by the look."""
    before = admin.names("queues"), admin.names("exchanges"), admin.bindings()
    fine = "consume, send" in told
    path = config(tmp_path, ini(admin.user(*permissions)))
    document = read(path, "check", code=0 if fine else 1)
    (found,) = [each for each in document["checks"] if each["check"] == "permissions"]
    assert found["ok"] is document["ok"] is fine
    assert found["detail"].startswith(told)
    assert fine or (found["advice"] or "").endswith(f"'{WHOLE}' '{WHOLE}' '{WHOLE}'")
    assert PASSWORD not in str(document)
    assert (admin.names("queues"), admin.names("exchanges"), admin.bindings()) == before


@pytest.mark.parametrize(
    ("reads", "probe", "told"),
    [
        ("^a$", "on", "its consumers leave the probe to others: no read permission on a.wait.probe"),
        ("^a$", "off", None),
        (r"^a(\.wait\.probe)?$", "on", None),
    ],
)
def test_a_consumer_that_may_not_probe_is_a_warning(
    admin: Admin, tmp_path: Path, reads: str, probe: str, told: str | None
) -> None:
    """It runs tasks all the same; with `probe = off` it is as somebody wants it."""
    document = read(config(tmp_path, ini(admin.user("^$", SETTLE, reads), probe=probe)), "check")
    (found,) = [each for each in document["checks"] if each["check"] == "permissions"]
    assert (found["ok"], found["advice"]) == (True, told)


def test_what_check_finds_enough_is_enough(
    admin: Admin, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """A user with no more than the rights of a consumer runs, retries and buries tasks."""
    stage = staged(server=admin.url)
    name = re.escape(stage.name)
    user = admin.user("^$", rf"^{name}\.(dead|wait|wait\.due|wait\.control)$", f"^{name}$")
    stage.path.write_text(stage.path.read_text().replace(admin.url, user))
    assert read(stage.path, "check")["ok"] is True
    receiver.answer("/x", [500, 500])
    stage.run()
    with stage.client() as client:
        client.send("/x", stage.name, max_retries=2)
    receiver.wait_for(2)
    assert stage.dead()[0][0]["taskqueue-reason"] == "failed"


@pytest.mark.parametrize(
    "command",
    [
        ("dead", "list", "a"), ("dead", "show", "a", "m"), ("dead", "replay", "a", "--all", "--yes"),
        ("dead", "purge", "a", "--all", "--yes"), ("waiting", "list", "a"), ("inspect",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_user_who_may_not_look_is_told_so_in_one_line(
    admin: Admin, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Whatever the command looks at."""
    ran(config(tmp_path, ini(admin.url)), "declare")
    done = run(config(tmp_path, ini(admin.user("^$", "^$", "^a$"))), *command)
    assert done.returncode == 1
    told = done.stderr.decode()
    assert "ACCESS_REFUSED" in told
    assert "Traceback" not in told


def test_one_pattern_is_enough(admin: Admin, tmp_path: Path) -> None:
    """The pattern of the contract passes."""
    pattern = r"^a(\..*)?$"
    assert read(config(tmp_path, ini(admin.user(pattern, pattern, pattern))), "check")["ok"] is True


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (r"^(a|shared\.wait)(\..*)?$", "may declare, consume, send"),
        (
            WHOLE,
            f"{NEITHER.replace('a.wait.due', 'shared.wait')} and no write permission on shared.wait.control",
        ),
    ],
)
def test_a_shared_ladder_takes_permissions_of_its_own(
    admin: Admin, tmp_path: Path, pattern: str, told: str
) -> None:
    """Those of the queue are not enough, and the pattern is named."""
    text = ini(admin.url) + "ladder = shared\n"
    declare(parse(text, source="test", environ={}))
    user = text.replace(admin.url, admin.user(pattern, pattern, pattern))
    document = read(config(tmp_path, user), "check", code=0 if "consume, send" in told else 1)
    (found,) = [each for each in document["checks"] if each["check"] == "permissions"]
    assert found["detail"] == told
    assert found["ok"] or r"|^shared\.wait(\..*)?$" in found["advice"]


def test_messages_that_name_no_queue_of_their_ladder_are_found(admin: Admin, tmp_path: Path) -> None:
    """Nobody would ever run them."""
    text = ini(admin.url) + "ladder = shared\n"
    declare(parse(text, source="test", environ={}))
    with connect_apart(admin.url) as connection:
        connection.channel().basic_publish(amqp.Message(b"{}", delivery_mode=2), "shared.wait", "in>77s")
    document = read(config(tmp_path, text), "check", code=1)
    assert failed(document) == {"leaders": "messages that are lost: 1 in shared.wait.lost"}


def test_checking_takes_no_task(admin: Admin, tmp_path: Path) -> None:
    """What stands in the work queue is delivered afterwards for the first time."""
    with connect_apart(admin.url) as connection:
        channel = connection.channel()
        channel.basic_publish(amqp.Message(b"{}", delivery_mode=2), "", "a", mandatory=True)
        read(config(tmp_path, ini(admin.url)), "check")
        message = channel.basic_get("a")
        assert message is not None
        assert message.delivery_info["redelivered"] is False


def test_no_broker_is_exit_code_three(tmp_path: Path) -> None:
    """The configuration is fine, and says so."""
    document = read(config(tmp_path, ini("amqp://guest:secret@127.0.0.1:1/")), "check", code=3)
    assert [each["ok"] for each in document["checks"]] == [True, True, False]
    assert "secret" not in str(document)


def test_a_bad_configuration_is_exit_code_two(tmp_path: Path) -> None:
    """With file, line and key."""
    document = read(config(tmp_path, ini("amqp://localhost/", levels="many")), "check", code=2)
    assert "taskqueue.ini:2: levels" in failed(document)["configuration"]


def test_a_management_api_that_does_not_answer_is_named(admin: Admin, tmp_path: Path) -> None:
    """It is in the configuration, so it is expected to work; in our own words, without its login."""
    path = config(tmp_path, ini(admin.url, management_url="http://guest:secret@127.0.0.1:1/"))
    told = failed(read(path, "check", code=1))["management"]
    assert told == "the management API at http://127.0.0.1:1 can't be reached: Connection refused"
    with Silent() as server:
        url = f"http://127.0.0.1:{server.port}"
        path = config(tmp_path, ini(admin.url, management_url=url))
        told = failed(read(path, "check", code=1))["management"]
    assert told == f"the management API at {url} does not answer within 5 s"


def test_of_many_queues_each_has_its_own_rights(admin: Admin, tmp_path: Path) -> None:
    """They are asked about together, and one that is refused says nothing of the others."""
    text = ini(admin.url) + "[b]\n[c]\n"
    declare(parse(text, source="test", environ={}))
    pattern = r"^[ac](\..*)?$"
    user = text.replace(admin.url, admin.user(pattern, pattern, pattern))
    checks = read(config(tmp_path, user), "check", code=1)["checks"]
    may = {each["queue"]: each["detail"] for each in checks if each["check"] == "permissions"}
    assert may["a"] == may["c"] == "may declare, consume, send"
    assert may["b"].startswith("may neither declare nor consume nor send")
    assert [each["ok"] for each in checks if each["check"] == "declared"] == [True] * 3


def test_the_version_of_the_broker_is_read(admin: Admin) -> None:
    """From what it says when the connection is opened."""
    with connect(parse(ini(admin.url), source="test", environ={}), name="test") as connection:
        assert version(connection) >= (3, 10)


@pytest.mark.parametrize(
    ("stated", "parsed"),
    [("3.10.8", (3, 10, 8)), (b"4.0.0-rc.1", (4, 0, 0)), ("3.9.29", (3, 9, 29)), (None, ()), ("x", ())],
)
def test_a_broker_that_is_too_old_is_refused(stated: str | bytes | None, parsed: tuple[int, ...]) -> None:
    """3.10 and later pass; a broker that does not tell is refused as well."""
    about = {"product": "RabbitMQ", "version": stated}
    assert parsed_version(about) == parsed
    if parsed >= (3, 10):
        refuse_version(about)
    else:
        with pytest.raises(BrokerRefused, match=r"needs RabbitMQ 3\.10 or later"):
            refuse_version(about)


@pytest.mark.parametrize(
    ("key", "value", "handler"),
    [("signing_secret", "whsec_c2VjcmV0", "signing"), ("bearer_token", "c2VjcmV0", "bearer"),
     ("basic_auth", "me:c2VjcmV0", "basic")],
)  # fmt: skip
def test_a_secret_that_no_handler_uses_is_a_warning(
    admin: Admin, tmp_path: Path, key: str, value: str, handler: str
) -> None:
    """All is fine, and requests would go out unsigned or without credentials: both are said."""
    text = ini(admin.url) + f"{key} = {value}\nbase_url = https://app.example.com\n"
    document = read(config(tmp_path, text), "check")
    (found,) = [each for each in document["checks"] if each["check"] == "requests"]
    assert (found["ok"], document["ok"]) == (True, True)
    assert found["advice"] == f"{key} is set and does nothing: add {handler} to handlers"
    assert "warning" in ran(tmp_path / "taskqueue.ini", "check")
    assert "c2VjcmV0" not in str(document)
    used = read(config(tmp_path, text + f"handlers = headers, {handler}\n"), "check")
    advised = [each["check"] for each in used["checks"] if each["advice"]]
    assert [each for each in advised if each != "faults"] == ["advanced.config", "policies"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("handlers = nosuch", "queue a: handlers: nosuch: no handler has this name"),
        ("handlers = bearer\nbearer_token = t", "queue a: bearer_token: needs base_url or allow_hosts"),
        ("request_ca_file = /no/such.pem", "queue a: request_ca_file: can't use /no/such.pem"),
    ],
)
def test_requests_that_could_not_be_made_are_found(tmp_path: Path, lines: str, words: str) -> None:
    """What would end `taskqueue run` at its start ends the check, without a broker too."""
    path = config(tmp_path, ini("amqp://127.0.0.1:1/") + lines + "\n")
    assert words in failed(read(path, "check", code=3))["requests"]
