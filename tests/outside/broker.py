"""The real broker, spoken to by an independent client (pika)."""
from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Union

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker


@dataclass(frozen=True)
class Message:
    """One message of a queue."""

    body: bytes
    headers: Dict[str, Any]
    properties: pika.BasicProperties


class Broker:
    """Publishes to one queue and reads another; a connection for each call, so that none goes stale."""

    def __init__(self, url: str, queue: str) -> None:
        self.url = url
        self.queue = queue
        self.dead_letter_queue = f"{queue}.dead"
        self._letters: List[Message] = []
        self._lock = threading.Lock()

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """A channel with publisher confirms."""
        parameters = pika.URLParameters(self.url)
        parameters.heartbeat = 0
        connection = pika.BlockingConnection(parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            if connection.is_open:
                connection.close()

    def publish(self, *bodies: Union[str, bytes], headers: Optional[Dict[str, Any]] = None, **properties: Any) -> None:
        """Publishes each body; the broker has confirmed and routed all when this returns."""
        wanted = pika.BasicProperties(headers=headers, delivery_mode=2, **properties)
        with self.channel() as channel:
            for body in bodies:
                raw = body.encode() if isinstance(body, str) else body
                channel.basic_publish("", self.queue, raw, wanted, mandatory=True)

    def depth(self, queue: Optional[str] = None) -> Optional[int]:
        """How many messages are ready; none if there is no such queue."""
        try:
            with self.channel() as channel:
                answer = channel.queue_declare(queue or self.queue, passive=True)
                return int(answer.method.message_count)
        except ChannelClosedByBroker:
            return None

    def dead_letters(self) -> List[Message]:
        """Everything that ever was in the dead-letter queue. Takes it out: a quorum queue counts returned ones."""
        with self._lock, self.channel() as channel:
            while True:
                method, properties, body = channel.basic_get(self.dead_letter_queue, auto_ack=True)
                if method is None:
                    return list(self._letters)
                self._letters.append(Message(body, dict(properties.headers or {}), properties))

    def delete(self) -> None:
        """Removes both queues."""
        with self.channel() as channel:
            for queue in (self.queue, self.dead_letter_queue):
                channel.queue_delete(queue)
