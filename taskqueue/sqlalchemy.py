"""Send with a session of SQLAlchemy: after its commit, and not after a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_only

from taskqueue.errors import TaskqueueError
from taskqueue.send.async_client import AsyncClient
from taskqueue.send.client import Client
from taskqueue.send.committed import Unsent, tell
from taskqueue.send.new_task import NewTask

_KEY = "taskqueue"


def send_on_commit(
    client: Client | AsyncClient, session: Any, /, *given: Any, unsent: Unsent = tell, **fields: Any
) -> str:
    """Send a task once the session is committed, and give its id now; the arguments are those of `send`.

    `session` is a Session, or with an AsyncClient an AsyncSession, or what `scoped_session` makes of them.
    Raises at once what `send` raises for what it is given. Nothing is sent after a rollback, also one of
    `begin_nested`. All tasks of a commit are sent together, when the session's connection is free again.
    Where the broker does not confirm, `unsent` gets them and the error, and by default writes them to the
    log (docs/outbox.md).
    """
    if hasattr(session, "registry"):
        session = session.registry()
    sync = getattr(session, "sync_session", session)
    if (sync is session) is isinstance(client, AsyncClient):
        msg = "an AsyncClient goes with an AsyncSession, a Client with a Session"
        raise TypeError(msg)
    task = client.checked(*given, **fields)
    within = sync.get_nested_transaction() or sync.get_transaction() or sync.begin()
    _pending(sync).waiting.append(_Waiting(within, client, task, unsent))
    return str(task.id)


@dataclass(frozen=True, slots=True)
class _Waiting:
    within: SessionTransaction
    """Where this is rolled back, the task is not sent."""
    client: Client | AsyncClient
    task: NewTask
    unsent: Unsent


@dataclass(slots=True)
class _Pending:
    """What a session sends at its commit."""

    waiting: list[_Waiting] = field(default_factory=list)
    committed: bool = False


def _pending(session: Session) -> _Pending:
    if _KEY not in session.info:
        session.info[_KEY] = _Pending()
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_transaction_end", _ended)
    pending: _Pending = session.info[_KEY]
    return pending


def _committed(session: Session) -> None:
    """Hand what belongs to a savepoint on to what it is in, and remember it where all is committed."""
    pending = _pending(session)
    nested = session.get_nested_transaction()
    if nested is None:
        pending.committed = True
        return
    outer = next(each for each in _outer(nested) if each.nested or each.parent is None)
    pending.waiting = [
        replace(each, within=outer) if each.within is nested else each for each in pending.waiting
    ]


def _outer(transaction: SessionTransaction) -> Iterator[SessionTransaction]:
    while (parent := transaction.parent) is not None:
        yield parent
        transaction = parent


def _ended(session: Session, transaction: SessionTransaction) -> None:
    """Forget what was rolled back; send what was committed, now that its connection is given back."""
    pending = _pending(session)
    if transaction.parent is not None:
        pending.waiting = [each for each in pending.waiting if each.within is not transaction]
        return
    waiting, committed = pending.waiting, pending.committed
    pending.waiting, pending.committed = [], False
    if committed:
        for _, group in groupby(waiting, key=lambda each: (id(each.client), id(each.unsent))):
            _send(list(group))


def _send(waiting: list[_Waiting]) -> None:
    client, tasks = waiting[0].client, [each.task for each in waiting]
    try:
        if isinstance(client, AsyncClient):
            await_only(client.send_many(tasks))
        else:
            client.send_many(tasks)
    except TaskqueueError as error:
        waiting[0].unsent(tasks, error)
