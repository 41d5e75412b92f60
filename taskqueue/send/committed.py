"""What is sent after a commit, which can't be undone any more: what was not sent is told, and not raised."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from taskqueue.errors import TaskqueueError
from taskqueue.send.new_task import NewTask

Unsent = Callable[[Sequence[NewTask], TaskqueueError], None]
"""Called in place of the log, with the tasks that may not have been sent and why."""
log = logging.getLogger("taskqueue")


def tell(tasks: Sequence[NewTask], error: TaskqueueError) -> None:
    """Write a line for each task, with what is needed to send it again."""
    for task in tasks:
        log.error(
            "the transaction is committed, but task %s for queue %s was not confirmed (%s): "
            "send it again with the same id",
            task.id, task.queue, error,
        )  # fmt: skip
