"""A private RabbitMQ node that can be stopped, killed and started again; its queues as the judge sees them."""
from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Optional
from urllib.parse import urlsplit

from pika.exceptions import AMQPError, ChannelClosedByBroker

from outside.broker import Broker, Message as Letter

#: A node that was killed may need several tries: its port mapper has to notice first.
TRIES = 10


class Node:
    """One node in a folder of its own; keeps its data when it is down."""

    def __init__(self, script: Path, folder: Path) -> None:
        self._script, self._folder = script, folder
        self.port = 0

    def start(self) -> None:
        """Starts it, the first time on a port that it finds."""
        more = [str(self.port)] if self.port else []
        last: Optional[subprocess.CompletedProcess[str]] = None
        for _ in range(TRIES):
            last = subprocess.run([str(self._script), "start", str(self._folder), *more], capture_output=True,
                                  text=True, check=False, timeout=150)
            if last.returncode == 0:
                self.port = int(last.stdout.strip().rsplit(":", 1)[1].split("/")[0])
                return
            self.stop()
            time.sleep(1)
        assert last is not None
        raise RuntimeError(f"no broker: {last.stdout[-500:]} {last.stderr[-1500:]}")

    def stop(self) -> None:
        """Asks it to stop."""
        subprocess.run([str(self._script), "stop", str(self._folder)], capture_output=True, check=False, timeout=120)

    def kill(self) -> None:
        """Ends its process without a word; then clears up after it (the port mapper)."""
        pid = int((self._folder / "node.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid):
            time.sleep(0.05)
        self.stop()

    @property
    def url(self) -> str:
        """Directly, past the proxy."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2f"


class Given(Node):
    """A broker that somebody else runs: it is used and left alone."""

    def __init__(self, url: str) -> None:  # pylint: disable=super-init-not-called
        self._url = url
        self.port = urlsplit(url).port or 5672

    def start(self) -> None:
        """It runs."""

    stop = kill = start

    @property
    def url(self) -> str:
        """As given."""
        return self._url


def state_of(pid: int) -> str:
    """The state letter of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


class Queues:
    """The two queues of a run."""

    def __init__(self, url: str, queue: str) -> None:
        self._broker = Broker(url, queue)

    def waiting(self) -> int:
        """Requests that are ready; -1 if nobody knows."""
        try:
            depth = self._broker.depth()
        except (AMQPError, OSError):
            return -1
        return -1 if depth is None else depth

    def letters(self) -> List[Letter]:
        """Everything on the dead-letter queue; takes it out."""
        try:
            return self._broker.dead_letters()
        except ChannelClosedByBroker:
            return []

    def delete(self) -> None:
        """Removes both."""
        try:
            self._broker.delete()
        except (AMQPError, OSError):
            pass


def marker_of(letter: Letter) -> str:
    """The oracle's mark on a message."""
    headers: Dict[str, Any] = letter.headers
    return str(headers.get("x-oracle", ""))
