"""The cases, in the order in which they run."""
from . import intake, telling, rest, commands, lifecycle, last  # noqa: F401
