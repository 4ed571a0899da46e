"""Drives the built `scanbell` as outsiders would: see `tests/outside.py`."""
