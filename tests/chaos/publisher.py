"""The oracle's way into the broker: publishes with confirms, again and again until each message is confirmed."""
from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Dict, List, Optional

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from .ledger import Ledger
from .work import Message

#: How long the oracle tries to publish a batch. A broker that is down is back long before.
PUBLISH_WITHIN = 150.0

#: A confirm that has not come by then does not come: a broker that just started may forget what it was given.
CONFIRMED_WITHIN = 8.0


class Publisher:
    """One connection, made anew whenever anything is wrong with it."""

    def __init__(self, url: str, queue: str, ledger: Ledger) -> None:
        self._url, self._queue, self._ledger = url, queue, ledger
        self._connection: Optional[AsyncioConnection] = None
        self._channel: Any = None
        self._waiting: Dict[int, "asyncio.Future[bool]"] = {}
        self._number = 0

    async def publish(self, messages: List[Message]) -> None:
        """All of them; in their order, unless the connection breaks in between."""
        left, end = list(messages), time.monotonic() + PUBLISH_WITHIN
        for message in messages:
            self._ledger.published.setdefault(message.marker, time.monotonic())
        while left:
            if time.monotonic() > end:
                raise RuntimeError(f"the oracle could not publish {len(left)} messages")
            if await self._open():
                left = await self._try(left)
            if left:
                self.close()
                await asyncio.sleep(random.uniform(0.1, 0.3))

    async def _try(self, messages: List[Message]) -> List[Message]:
        """Those that were not confirmed; the broker may have them all the same."""
        loop = asyncio.get_running_loop()
        futures = []
        for message in messages:
            self._number += 1
            self._waiting[self._number] = future = loop.create_future()
            futures.append(future)
            self._channel.basic_publish("", self._queue, message.body, properties_of(message), mandatory=True)
        await asyncio.wait(futures, timeout=CONFIRMED_WITHIN)
        left = [message for message, future in zip(messages, futures) if not (future.done() and future.result())]
        for message in left:
            self._ledger.unconfirmed[message.marker] += 1
        return left

    async def _open(self) -> bool:
        if self._channel is not None and self._channel.is_open:
            return True
        loop = asyncio.get_running_loop()
        ready: "asyncio.Future[bool]" = loop.create_future()
        say = lambda word: None if ready.done() else ready.set_result(word)  # noqa: E731
        parameters = pika.URLParameters(self._url)
        parameters.heartbeat = 0

        def opened(channel: Any) -> None:
            channel.add_on_close_callback(lambda *_: self._broke())
            channel.add_on_return_callback(lambda *_: self._broke())
            channel.confirm_delivery(self._answered, lambda _: say(True))
            self._channel, self._number = channel, 0

        self._connection = AsyncioConnection(
            parameters, on_open_callback=lambda connection: connection.channel(on_open_callback=opened),
            on_open_error_callback=lambda *_: say(False), on_close_callback=lambda *_: (say(False), self._broke()),
        )
        try:
            return await asyncio.wait_for(ready, CONFIRMED_WITHIN)
        except asyncio.TimeoutError:
            return False

    def _answered(self, frame: Any) -> None:
        """The broker's word about a message, or about all up to it."""
        tag, good = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Ack)
        for number in [n for n in self._waiting if n == tag or (frame.method.multiple and n < tag)]:
            future = self._waiting.pop(number)
            if not future.done():
                future.set_result(good)

    def _broke(self) -> None:
        """No word will come any more."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_result(False)

    def close(self) -> None:
        """Leaves."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            connection.close()
        self._broke()


def properties_of(message: Message) -> pika.BasicProperties:
    """Persistent, and with the oracle's mark."""
    headers = {"x-oracle": message.marker, **dict(message.headers)}
    return pika.BasicProperties(delivery_mode=2, headers=headers, message_id=message.message_id,
                                content_type=message.content_type)
