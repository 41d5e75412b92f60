"""Tasks and what becomes of them: pure, without a clock and without a socket."""
