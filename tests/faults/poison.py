"""A handler that ends its process, as a fault in native code or the kernel's out-of-memory killer would."""

from __future__ import annotations

import os
import signal

from taskqueue.handlers import Handler, Request
from taskqueue.task.decode import Task


class Poison(Handler):
    """Dies of every task whose path is /poison."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Kill the process, or change nothing."""
        if task.url == "/poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return request


class Exit(Handler):
    """Ends its process with exit code 1 at /exit-1, as an exception does that nobody catches."""

    def prepare(self, request: Request, task: Task) -> Request:
        """End the process, or change nothing."""
        if task.url == "/exit-1":
            os._exit(1)
        return request
