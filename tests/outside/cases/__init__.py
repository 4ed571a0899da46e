"""The cases, in the order in which they run."""
from . import intake, telling, rest, commands, lifecycle, tls, broker, secrets, memory, cluster, last  # noqa: F401
