"""A RabbitMQ node of one's own, for what would disturb the others: TLS only, alarms, restarts."""
from __future__ import annotations

import random
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import List, Optional

from .harness import holds, short

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "rabbitmq"


class Node:
    """Started by `scripts/rabbitmq`; whatever its configuration is, it also takes plain connections."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="scanbell-node-", dir="/tmp"))
        self.folder.chmod(0o755)  # the node is another user's
        self.port = 0

    def start(self, configuration: str = "", port: Optional[int] = None) -> "Node":
        """Starts it with this `rabbitmq.conf`; `{tls_port}` in it is a free port of the node's own."""
        self.port = port or free_ports()
        (self.folder / "rabbitmq.conf").write_text(configuration.replace("{tls_port}", str(self.tls_port)))
        self._call("start", str(self.folder), str(self.port))
        return self

    @property
    def url(self) -> str:
        """Where plain connections go."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2f"

    @property
    def tls_port(self) -> int:
        """Where encrypted connections go, if the configuration says so."""
        return self.port + 1

    def ctl(self, *words: str) -> str:
        """`rabbitmqctl`."""
        return self._call("ctl", str(self.folder), *words)

    def stop(self) -> None:
        """Stops it; its data stays."""
        self._call("stop", str(self.folder))

    def close(self) -> None:
        """Ends it and removes its data."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, *words: str) -> str:
        done = subprocess.run([str(SCRIPT), *words], capture_output=True, text=True, check=False, timeout=180,
                              stdin=subprocess.DEVNULL)
        holds(done.returncode == 0, f"scripts/rabbitmq {' '.join(words)}: {short(done.stdout + done.stderr)}")
        return done.stdout


class Nodes:
    """Those that were started and have to be ended."""

    def __init__(self) -> None:
        self._nodes: List[Node] = []
        self._lock = threading.Lock()

    def new(self) -> Node:
        """One that is not started yet."""
        node = Node()
        with self._lock:
            self._nodes.append(node)
        return node

    def close(self) -> None:
        """Ends all."""
        with self._lock:
            nodes, self._nodes = self._nodes, []
        for node in nodes:
            try:
                node.close()
            except Exception as error:  # pylint: disable=broad-except  # it may never have started
                print(f"      (a node in {node.folder} did not stop: {type(error).__name__})")


def free_ports() -> int:
    """The first of two free ports whose companions (see `scripts/rabbitmq`) are free, too."""
    for _ in range(50):
        port = random.randrange(12_000, 22_000)
        if not any(taken(other) for other in (port, port + 1, port + 5000, port + 10_000)):
            return port
    raise AssertionError("no free ports")


def taken(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
