"""The store that the documentation shows for Django's models, on sqlite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskqueue.receiver import NotDone
from tests.support.django_project import Row, tables
from tests.support.signed import shown


@pytest.fixture
def store() -> Iterator[Any]:
    """Give the store over an empty table."""
    with tables():
        yield shown("django store")["DoneModel"](Row)


def test_an_id_is_new_once(store: Any) -> None:
    """And kept when its block ends."""
    seen = []
    for task_id in ("one", "one", "two"):
        with store.once(task_id) as new:
            seen.append(new)
    assert seen == [True, False, True]


@pytest.mark.parametrize("error", [NotDone, ZeroDivisionError])
def test_an_id_whose_work_failed_is_not_kept(store: Any, error: type[Exception]) -> None:
    """Nor is what the work had written."""

    def work() -> None:
        with store.once("one"):
            Row.objects.create(id="of the work")
            raise error

    with pytest.raises(error):
        work()
    assert Row.objects.count() == 0
    with store.once("one") as new:
        assert new
