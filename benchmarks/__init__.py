"""Side by side with our peers: ``make bench``, or ``python -m benchmarks``."""
