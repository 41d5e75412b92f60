"""What `taskqueue check` shows of many queues."""

from __future__ import annotations

from taskqueue.cli.checks import Check, document, failure, table, unknown
from taskqueue.errors import NotKnown

MANY = [f"q-{number}" for number in range(1000)]


def test_queues_of_which_the_same_is_told_share_a_row() -> None:
    """Whatever stands between them; what differs in one word has a row of its own."""
    checks = [Check("version", ok=True, detail="fine")]
    for name in MANY:
        checks += [
            Check("requests", ok=True, detail="handlers: headers", queue=name),
            Check("declared", ok=False, detail="nothing of it", queue=name, advice="declare"),
        ]
    checks.append(Check("declared", ok=False, detail="missing: queue z", queue="z", advice="declare"))
    made = table(checks)
    cells = [list(map(str, column.cells)) for column in made.columns]
    assert cells[0] == ["version", "requests", "declared", "declared"]
    assert cells[1] == ["-", *["q-0, q-1, q-2 and 997 more"] * 2, "z"]
    assert cells[2] == ["ok", "ok", "failed", "failed"]


def test_what_could_not_be_looked_at_is_not_told_as_fine() -> None:
    """Nor as a failure; in the table and in JSON."""
    checks = [
        Check("version", ok=True, detail="fine"),
        Check("requests", ok=True, detail="fine", advice="but"),
        unknown("alarms", "nobody tells"),
        unknown("policies", "nobody tells", "ask"),
        failure("leaders", NotKnown("no answer")),
    ]
    states = ["ok", "warning", "unknown", "unknown", "failed"]
    assert list(map(str, table(checks).columns[2].cells)) == states
    found = document(checks)
    assert [each["state"] for each in found["checks"]] == states
    assert [each["ok"] for each in found["checks"]] == [True] * 4 + [False]
    assert (found["ok"], document(checks[:4])["ok"]) == (False, True)


def test_in_json_every_queue_is_told_by_itself() -> None:
    """A program need not read lists in a text."""
    checks = [Check("requests", ok=True, detail="handlers: headers", queue=name) for name in MANY]
    assert [each["queue"] for each in document(checks)["checks"]] == MANY
