"""The description of the API names what there is."""

from __future__ import annotations

import pytest

from taskqueue.errors import InvalidTask
from taskqueue.task.decode import KNOWN
from taskqueue.task.fields import mapping
from taskqueue.web.openapi import description


def test_every_field_of_a_message_is_described() -> None:
    """And none that there is not."""
    document = description("/tq")
    task = document["components"]["schemas"]["Task"]
    assert set(task["properties"]) == KNOWN
    assert document["servers"] == [{"url": "/tq"}]
    assert description("")["servers"] == [{"url": "/"}]


def test_an_empty_array_is_described_where_it_is_taken() -> None:
    """As PHP writes an empty object; one with something in it is neither."""
    found = description("")["components"]["schemas"]["Task"]["properties"]["metadata"]
    assert (found["type"], found["maxItems"]) == (["object", "array", "null"], 0)
    assert mapping({"metadata": []}, "metadata") == {}
    with pytest.raises(InvalidTask, match="must be an object"):
        mapping({"metadata": [1]}, "metadata")


def test_every_reference_leads_somewhere() -> None:
    """Within the document."""
    document = description("")

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [each for key, each in value.items() if key == "$ref"]
            return own + [each for inner in value.values() for each in references(inner)]
        return [each for inner in value for each in references(inner)] if isinstance(value, list) else []

    found = references(document)
    assert len(found) > 5
    for reference in found:
        here = document
        for part in reference.removeprefix("#/").split("/"):
            here = here[part]
