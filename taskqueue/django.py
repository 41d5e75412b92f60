"""Send with a transaction of Django: after its commit, and not after a rollback."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction

from taskqueue.errors import TaskqueueError
from taskqueue.send.client import Client
from taskqueue.send.committed import Unsent, tell
from taskqueue.send.new_task import NewTask


def send_on_commit(
    client: Client, /, *given: Any, using: str | None = None, unsent: Unsent = tell, **fields: Any
) -> str:
    """Send a task once the transaction is committed, and give its id now; the arguments are those of `send`.

    Raises at once what `send` raises for what it is given. Nothing is sent after a rollback, also one to a
    savepoint; without a transaction it is sent now. `using` names the database. Where the broker does not
    confirm, `unsent` gets the task and the error, and by default writes it to the log (docs/outbox.md).
    """
    task = client.checked(*given, **fields)
    transaction.on_commit(partial(_send, client, task, unsent), using=using)
    return str(task.id)


def _send(client: Client, task: NewTask, unsent: Unsent) -> None:
    try:
        client.send_many([task])
    except TaskqueueError as error:
        unsent([task], error)
