"""The least project of Django that there is, on sqlite in memory, with one model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.db import connections, models

_DATABASE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}

if not settings.configured:
    settings.configure(
        SECRET_KEY="x", ALLOWED_HOSTS=["testserver"], DEBUG_PROPAGATE_EXCEPTIONS=True,
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
        DATABASES={name: dict(_DATABASE) for name in ("default", "other")},
    )  # fmt: skip
    django.setup()


class Row(models.Model):  # type: ignore[misc]
    """A row with an id of one's own."""

    id = models.CharField(primary_key=True, max_length=255)

    class Meta:
        """Of no installed application."""

        app_label = "tests"

    def __str__(self) -> str:
        """Give its id."""
        return str(self.id)


class Urls:
    """A urlconf that a test makes."""

    def __init__(self, *patterns: Any) -> None:
        self.urlpatterns = list(patterns)


@contextmanager
def tables() -> Iterator[None]:
    """Have the model's table in both databases, empty, for a block."""
    for connection in connections.all():
        with connection.schema_editor() as editor:
            editor.create_model(Row)
    try:
        yield
    finally:
        # Django does not close what is in memory.
        for connection in connections.all():
            with connection.schema_editor() as editor:
                editor.delete_model(Row)
