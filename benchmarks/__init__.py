"""Programs that measure taskqueue side by side with what its users would pick instead."""
