"""The one I/O thread: connection, channels, confirms, reconnect. AMQP callbacks live here alone."""

from taskqueue.link.channel import REFUSALS, ConfirmChannel, Outcome
from taskqueue.link.loop import Link
from taskqueue.link.trial import Trial
from taskqueue.link.wire import TolerantConnection

__all__ = ["REFUSALS", "ConfirmChannel", "Link", "Outcome", "TolerantConnection", "Trial"]
