"""A RabbitMQ node of one's own, for what would disturb the others: TLS only, alarms, restarts."""
from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import List, Optional, Union

from .harness import holds, short

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "rabbitmq"


class Node:
    """Started by `scripts/rabbitmq`; whatever its configuration is, it also takes plain connections."""

    def __init__(self, folder: Optional[Path] = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="scanbell-node-", dir="/tmp"))
        if folder is None:
            self.folder.chmod(0o755)  # the node is another user's
        self.port = 0

    def start(self, configuration: str = "", port: Optional[int] = None) -> "Node":
        """Starts it with this `rabbitmq.conf`; `{tls_port}` in it is a free port of the node's own."""
        self.port = port or free_ports()
        (self.folder / "rabbitmq.conf").write_text(configuration.replace("{tls_port}", str(self.tls_port)))
        call("start", str(self.folder), str(self.port))
        return self

    def again(self) -> None:
        """Starts it once more, with what it knew."""
        call("start", str(self.folder))

    def kill(self) -> None:
        """Ends its process at once, as a power cut does."""
        pid = int((self.folder / "node.pid").read_text())
        os.kill(pid, signal.SIGKILL)

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
        return call("ctl", str(self.folder), *words)

    def stop(self) -> None:
        """Stops it; its data stays."""
        call("stop", str(self.folder))

    def close(self) -> None:
        """Ends it and removes its data."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def call(*words: str) -> str:
    """`scripts/rabbitmq`."""
    done = subprocess.run([str(SCRIPT), *words], capture_output=True, text=True, check=False, timeout=300,
                          stdin=subprocess.DEVNULL)
    holds(done.returncode == 0, f"scripts/rabbitmq {' '.join(words)}: {short(done.stdout + done.stderr)}")
    return done.stdout


class Cluster:
    """Three nodes of one cluster."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="scanbell-cluster-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.nodes = [Node(self.folder / str(number)) for number in (1, 2, 3)]

    def start(self) -> "Cluster":
        """Starts all."""
        port = free_ports(count=3)
        call("cluster", str(self.folder), str(port))
        for number, node in enumerate(self.nodes):
            node.port = port + number
        return self

    def leader_of(self, queue: str) -> Node:
        """The node that leads a quorum queue, as those that are up see it."""
        for node in self.nodes:
            if taken(node.port):
                lines = node.ctl("list_queues", "name", "leader").splitlines()
                ports = [line.split("scanbell-")[1] for line in lines if line.startswith(f"{queue}\t")]
                if ports and ports[0].startswith(tuple("0123456789")):
                    return next(node for node in self.nodes if ports[0].startswith(str(node.port)))
        raise AssertionError(f"no leader of {queue}")

    def close(self) -> None:
        """Ends all and removes their data."""
        for node in reversed(self.nodes):
            node.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nodes:
    """Those that were started and have to be ended."""

    def __init__(self) -> None:
        self._nodes: List[Union[Node, Cluster]] = []
        self._lock = threading.Lock()

    def cluster(self) -> Cluster:
        """Three that are not started yet."""
        cluster = Cluster()
        with self._lock:
            self._nodes.append(cluster)
        return cluster

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


def free_ports(count: int = 2) -> int:
    """The first of some free ports whose companions (see `scripts/rabbitmq`) are free, too."""
    for _ in range(50):
        port = random.randrange(12_000, 22_000)
        if not any(taken(first + number) for first in (port, port + 5000, port + 10_000) for number in range(count)):
            return port
    raise AssertionError("no free ports")


def taken(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
