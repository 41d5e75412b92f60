"""From a task that is due to its ack: deliveries, receipt, turns, attempts, verdict, settling."""
