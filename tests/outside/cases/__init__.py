"""The cases, in the order in which they run."""
from . import (  # noqa: F401
    intake, telling, rest, commands, lifecycle, tls, broker, secrets, memory, resources, drain, cluster, last,
)
