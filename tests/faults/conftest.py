"""Settings of the fault suite."""

from __future__ import annotations

import logging

# It reports each refused connection six times, which hides what matters where a trial fails.
logging.getLogger("pika").setLevel(logging.CRITICAL)
