"""A private RabbitMQ node that can be stopped, killed and started again, and the oracle's own way into it (pika)."""
from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from outside.broker import Broker, Message as Letter

from .ledger import Ledger
from .work import Message

#: How long the oracle tries to publish one message. A broker that is down is back long before.
PUBLISH_WITHIN = 120.0


class Node:
    """One node in a folder of its own; keeps its data when it is down."""

    def __init__(self, script: Path, folder: Path) -> None:
        self._script, self._folder = script, folder
        self.port = 0

    def start(self) -> None:
        """Starts it, the first time on a port that it finds."""
        more = [str(self.port)] if self.port else []
        last: Optional[subprocess.CompletedProcess[str]] = None
        for _ in range(4):  # a mapper of the killed node may still hold its port for a moment
            last = subprocess.run([str(self._script), "start", str(self._folder), *more], capture_output=True,
                                  text=True, check=False, timeout=150)
            if last.returncode == 0:
                self.port = int(last.stdout.strip().rsplit(":", 1)[1].split("/")[0])
                return
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


def state_of(pid: int) -> str:
    """The state letter of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


class Publisher:
    """Publishes with confirms, again and again until each message is confirmed. For one thread."""

    def __init__(self, url: str, queue: str, ledger: Ledger) -> None:
        self._url, self._queue, self._ledger = url, queue, ledger
        self._connection: Optional[pika.BlockingConnection] = None
        self._channel: Any = None

    def publish(self, messages: List[Message]) -> None:
        """All of them, in their order."""
        for message in messages:
            self._publish(message)

    def _publish(self, message: Message) -> None:
        properties = pika.BasicProperties(
            delivery_mode=2, headers={"x-oracle": message.marker, **dict(message.headers)},
            message_id=message.message_id, content_type=message.content_type,
        )
        end = time.monotonic() + PUBLISH_WITHIN
        self._ledger.published.setdefault(message.marker, time.monotonic())
        while True:
            try:
                channel = self._open()
            except (AMQPError, OSError) as error:
                self._again(end, error)
                continue
            try:
                channel.basic_publish("", self._queue, message.body, properties, mandatory=True)
                return
            except (AMQPError, OSError) as error:
                self._ledger.unconfirmed[message.marker] += 1
                self._again(end, error)

    def _open(self) -> Any:
        if self._channel is None or not self._channel.is_open:
            parameters = pika.URLParameters(self._url)
            parameters.heartbeat, parameters.blocked_connection_timeout = 20, 30
            parameters.socket_timeout = parameters.stack_timeout = 5
            self._connection = pika.BlockingConnection(parameters)
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        return self._channel

    def _again(self, end: float, error: BaseException) -> None:
        self.close()
        if time.monotonic() > end:
            raise RuntimeError(f"the oracle could not publish: {error!r}") from error
        time.sleep(random.uniform(0.1, 0.3))

    def close(self) -> None:
        """Leaves."""
        connection, self._connection, self._channel = self._connection, None, None
        try:
            if connection is not None and connection.is_open:
                connection.close()
        except (AMQPError, OSError):
            pass


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
