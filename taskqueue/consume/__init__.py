"""From a task that is due to its ack: consumer, deliveries, attempts, settling."""
