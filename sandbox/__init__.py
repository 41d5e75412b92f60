"""What tests, benchmarks and the demo run against: a private broker and a programmable HTTP receiver."""
