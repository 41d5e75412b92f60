"""What an operator reads and mends: depths, waiting and dead tasks."""
