"""The obligations test: requests, faults by a seeded schedule, and a judge. See `tests/chaos.py`."""
