"""Make the broker have what the configuration says: verify, apply, prune, migrate."""
