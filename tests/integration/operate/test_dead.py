"""`taskqueue dead` on a real broker: what an operator sees of the dead, and how they run again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pika

from sandbox.receiver import Receiver
from tests.support import command
from tests.support.stage import Stage, eventually

HEADERS: dict[str, Any] = {
    "taskqueue-reason": "failed",
    "taskqueue-runs": 3,
    "taskqueue-error": "status 500",
    "taskqueue-died": 1_764_074_365_500,
}


def _bury(
    stage: Stage, *ids: str, body: bytes = b'{"url": "/x"}', headers: dict[str, Any] | None = None
) -> None:
    """Put messages into the dead queue, in order."""
    with stage.connection() as connection:
        channel = connection.channel()
        for each in ids:
            basic = pika.BasicProperties(message_id=each, delivery_mode=2, headers=HEADERS | (headers or {}))
            channel.basic_publish("", f"{stage.name}.dead", body, basic, mandatory=True)


def _ids(stage: Stage) -> list[str]:
    return [entry["id"] for entry in command.read(stage.path, "dead", "list", stage.name)]


def test_a_task_that_failed_for_good_is_listed_and_replayed_until_it_succeeds(
    stage: Stage, receiver: Receiver
) -> None:
    """The whole round: the real consumer buries it, the replay brings it back under its id."""
    # Given a task that has used up its attempts
    receiver.answer("/x", [500, 500, 200])
    stage.consume()
    stage.publish({"url": "/x", "max_retries": 2, "countdown": 0}, message_id="task-1")
    eventually(lambda: stage.depth(f"{stage.name}.dead") == 1, "a dead task")
    (entry,) = command.read(stage.path, "dead", "list", stage.name)
    assert entry["at"].startswith("20")
    assert entry | {"at": 0, "first_seen": 0, "error": 0} == {
        "id": "task-1", "reason": "failed", "url": "/x", "attempts": 2, "error": 0, "at": 0, "first_seen": 0,
        "replays": 0,
    }  # fmt: skip
    assert "500" in entry["error"]
    # When it is replayed
    assert command.ran(stage.path, "dead", "replay", stage.name, "--id", "task-1", "--yes") == "1 replayed\n"
    # Then it runs as if for the first time, under its own id
    requests = receiver.wait_for(3)
    assert [request.headers["Taskqueue-Attempt"] for request in requests] == ["1", "2", "1"]
    assert {request.headers["Taskqueue-Id"] for request in requests} == {"task-1"}
    assert requests[2].headers["Taskqueue-Previous-Error"] is None
    stage.settle()
    assert stage.depth(f"{stage.name}.dead") == 0


def test_a_replayed_task_is_due_at_once(stage: Stage, receiver: Receiver) -> None:
    """Its countdown has been waited for."""
    _bury(stage, "a", body=b'{"url": "/x", "countdown": 3600}')
    command.ran(stage.path, "dead", "replay", stage.name, "--all", "--yes")
    stage.consume()
    receiver.wait_for(1)
    stage.settle()


def test_the_replay_of_chosen_ids_leaves_the_others_in_their_order(stage: Stage) -> None:
    """Time and again."""
    _bury(stage, *"abcdef")
    command.ran(stage.path, "dead", "replay", stage.name, "--id", "b", "--id", "e", "--yes")
    assert _ids(stage) == ["a", "c", "d", "f"]
    command.ran(stage.path, "dead", "replay", stage.name, "--id", "c", "--yes")
    assert _ids(stage) == ["a", "d", "f"]
    assert stage.depth() == 3


def test_the_replay_by_reason_leaves_the_others(stage: Stage) -> None:
    """A reason can be mended at once, such as a receiver that was down."""
    _bury(stage, "a")
    _bury(stage, "b", headers={"taskqueue-reason": "expired"})
    _bury(stage, "c")
    assert (
        command.ran(stage.path, "dead", "replay", stage.name, "--reason", "failed", "--yes") == "2 replayed\n"
    )
    assert _ids(stage) == ["b"]


def test_an_id_that_is_not_there_is_told_and_exits_1(stage: Stage) -> None:
    """The others are replayed all the same."""
    _bury(stage, "a")
    done = command.run(stage.path, "dead", "replay", stage.name, "--id", "a", "--id", "nope", "--yes")
    assert (done.returncode, done.stdout) == (1, b"1 replayed\n")
    assert done.stderr.decode() == f"nope is not among the dead tasks of {stage.name}\n"


def test_a_task_that_the_work_queue_does_not_take_stays_dead(stage: Stage) -> None:
    """It is acked only once the broker has confirmed its copy."""
    _bury(stage, "a", "b")
    with stage.connection() as connection:
        connection.channel().queue_delete(stage.name)
    done = command.run(stage.path, "dead", "replay", stage.name, "--all", "--yes")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"run 'taskqueue declare'" in done.stderr
    assert _ids(stage) == ["a", "b"]


def test_list_shows_the_oldest_and_no_more_than_asked_for(stage: Stage) -> None:
    """Twice the same."""
    _bury(stage, *"abcdef")
    for _ in range(2):
        entries = command.read(stage.path, "dead", "list", stage.name, "--limit", "2")
        assert [entry["id"] for entry in entries] == ["a", "b"]
    assert stage.depth(f"{stage.name}.dead") == 6


def test_show_gives_everything_and_body_the_exact_bytes(stage: Stage) -> None:
    """A body that is no text as well."""
    body = b'\x00\xff{"url"\r\n'
    _bury(stage, "a")
    _bury(stage, "b", body=body, headers={"traceparent": "00-ab"})
    shown = command.read(stage.path, "dead", "show", stage.name, "b")
    assert (shown["reason"], shown["body"], shown["body_base64"]) == ("failed", None, "AP97InVybCINCg==")
    assert shown["headers"]["traceparent"] == "00-ab"
    assert command.run(stage.path, "dead", "show", stage.name, "b", "--body").stdout == body
    assert "traceparent" in command.ran(stage.path, "dead", "show", stage.name, "b")
    command.ran(stage.path, "dead", "show", stage.name, "nope", code=1)


def test_what_others_called_as_we_do_hides_nothing_of_ours(stage: Stage) -> None:
    """A header, or a property, of the name of one of our lines is shown beside it, as what it is."""
    ours = {
        "id": "a",
        "reason": "failed",
        "url": "/x",
        "error": None,
        "attempts": None,
        "at": None,
        "body": None,
    }
    foreign = {name: f"theirs-{name}" for name in ours}
    _bury(stage, "a", body=b'{"url": "/x"}', headers=foreign)
    printed = command.ran(stage.path, "dead", "show", stage.name, "a").splitlines()
    shown = dict(line.split(maxsplit=1) for line in printed if not line.startswith(("header", "property")))
    assert {name: value for name, value in shown.items() if ours.get(name)} == {
        name: value for name, value in ours.items() if value
    }
    assert set(ours) <= set(shown)
    assert not [value for value in shown.values() if "theirs" in value]
    for name, value in foreign.items():
        assert sum(line.split() == ["header", name, value] for line in printed) == 1


def test_no_message_can_write_control_characters_to_the_terminal(stage: Stage) -> None:
    """Nor markup; others write what stands in the table."""
    _bury(
        stage, "a", body=b'{"url": "/\\u001b[2J\\u009b"}', headers={"taskqueue-error": "[red]\x1b]0;evil\x07"}
    )
    for arguments in (("list", stage.name), ("show", stage.name, "a")):
        printed = command.ran(stage.path, "dead", *arguments)
        assert "[red]\\x1b]0;evil\\x07" in printed
        assert all(each.isprintable() or each == "\n" for each in printed)


def test_purge_deletes_what_was_chosen(stage: Stage) -> None:
    """By id, by reason, or all."""
    _bury(stage, "a", "b")
    _bury(stage, "c", headers={"taskqueue-reason": "expired"})
    _bury(stage, "d", "e")
    assert command.ran(stage.path, "dead", "purge", stage.name, "--id", "b", "--yes") == "1 purged\n"
    assert (
        command.ran(stage.path, "dead", "purge", stage.name, "--reason", "expired", "--yes") == "1 purged\n"
    )
    assert _ids(stage) == ["a", "d", "e"]
    assert command.ran(stage.path, "dead", "purge", stage.name, "--all", "--yes") == "3 purged\n"
    assert _ids(stage) == []
    assert stage.depth() == 0


def test_purge_asks_on_a_terminal_and_refuses_where_it_cannot_ask(stage: Stage) -> None:
    """Nothing is deleted by mistake."""
    _bury(stage, "a")
    command.ran(stage.path, "dead", "purge", stage.name, "--all", code=2)
    assert command.answer(stage.path, "dead", "purge", stage.name, "--all", typed="n\n") == 1
    assert _ids(stage) == ["a"]
    assert command.answer(stage.path, "dead", "purge", stage.name, "--all", typed="y\n") == 0
    assert _ids(stage) == []


def test_no_choice_and_two_choices_are_bad_usage(stage: Stage) -> None:
    """Exit code 2, before anything is touched."""
    _bury(stage, "a")
    for arguments in ((), ("--id", "a", "--all"), ("--runs", "many")):
        command.ran(stage.path, "dead", "replay", stage.name, *arguments, "--yes", code=2)
        command.ran(stage.path, "dead", "purge", stage.name, *arguments, "--yes", code=2)
    command.ran(stage.path, "dead", "list", "nope", code=2)
    assert _ids(stage) == ["a"]


def test_a_replay_at_a_rate_is_spread_over_the_ladder(stage: Stage) -> None:
    """The first at once, the others in their turn; nobody has to stay."""
    _bury(stage, *"abcd")
    arguments = ("dead", "replay", stage.name, "--all", "--rate", "2/m", "--yes")
    assert command.read(stage.path, *arguments) == {"looked": 4, "matched": 4, "done": 4, "missing": []}
    assert (stage.depth(), stage.waiting()) == (1, 3)
    rows = command.read(stage.path, "waiting", "list", stage.name)
    dues = [datetime.fromisoformat(row["due"]).timestamp() for row in rows]
    assert [row["id"] for row in rows] == ["b", "c", "d"]
    assert [round(later - dues[0]) for later in dues] == [0, 30, 60]


def test_what_dies_again_says_how_often_it_was_replayed(stage: Stage, receiver: Receiver) -> None:
    """Under the same id."""
    receiver.answer("/x", 500)
    stage.consume()
    stage.publish({"url": "/x", "max_retries": 1}, message_id="a")
    for replays in range(3):
        eventually(lambda: stage.depth(f"{stage.name}.dead") == 1, "a dead task")
        (entry,) = command.read(stage.path, "dead", "list", stage.name)
        assert (entry["id"], entry["replays"], entry["attempts"]) == ("a", replays, 1)
        command.ran(stage.path, "dead", "replay", stage.name, "--status", "500", "--yes")


def test_dead_tasks_are_found_by_url_time_and_attempts(stage: Stage) -> None:
    """One way to name them, as for what waits."""
    _bury(stage, "a", body=b'{"url": "/orders/1"}')
    _bury(stage, "b", headers={"taskqueue-died": 1_764_074_400_000, "taskqueue-runs": 5})

    def found(*arguments: str) -> list[str]:
        return [row["id"] for row in command.read(stage.path, "dead", "list", stage.name, *arguments)]

    assert found("--url", "/orders/*") == ["a"]
    assert found("--died-after", "2025-11-25T12:40:00Z") == ["b"]
    assert found("--died-before", "1764074400") == ["a"]
    assert found("--runs", "4+") == ["b"]
    assert found("--runs", "3+", "--status", "5xx") == ["a", "b"]
    assert found("--id", "b", "--url", "/orders/*") == []
