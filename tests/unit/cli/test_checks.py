"""What `taskqueue check` shows of many queues."""

from __future__ import annotations

from taskqueue.cli.checks import Check, document, table

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


def test_in_json_every_queue_is_told_by_itself() -> None:
    """A program need not read lists in a text."""
    checks = [Check("requests", ok=True, detail="handlers: headers", queue=name) for name in MANY]
    assert [each["queue"] for each in document(checks)["checks"]] == MANY
