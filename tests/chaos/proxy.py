"""A TCP proxy between scanbell and the broker: it can cut, and it can swallow what passes without closing."""
from __future__ import annotations

import asyncio
from typing import Dict, Set
from urllib.parse import urlsplit

from .receivers import Moment
from .wire import abort, free_port

#: So many bytes at once from the broker are requests.
REQUESTS = 500

TO_BROKER, TO_SCANBELL = "to broker", "to scanbell"


class Proxy:
    """Passes bytes on in both directions while their gates are open."""

    def __init__(self, url: str, moment: Moment) -> None:
        self._moment = moment
        self.port = free_port()
        self._target = urlsplit(url)
        self._gates: Dict[str, asyncio.Event] = {TO_BROKER: asyncio.Event(), TO_SCANBELL: asyncio.Event()}
        self._writers: Set[asyncio.StreamWriter] = set()
        self.open()

    @property
    def url(self) -> str:
        """The broker's URL, by way of this."""
        login = self._target.netloc.rpartition("@")[0]
        return f"amqp://{login}@127.0.0.1:{self.port}{self._target.path}"

    async def up(self) -> None:
        """Listens."""
        await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    def stall(self, direction: str) -> None:
        """Holds back what comes from now on: `to broker`, `to scanbell`, or `both ways`."""
        for name, gate in self._gates.items():
            if direction in (name, "both ways"):
                gate.clear()

    def open(self) -> None:
        """Passes on what was held back."""
        for gate in self._gates.values():
            gate.set()

    def cut(self) -> None:
        """Ends every connection; what was held back is gone."""
        for writer in list(self._writers):
            abort(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port or 5672)
        except OSError:
            abort(writer)
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer, TO_BROKER), self._pump(far_reader, writer, TO_SCANBELL))
        self._writers -= {writer, far_writer}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: str) -> None:
        try:
            while True:
                data = await source.read(65536)
                await self._gates[direction].wait()
                if not data or sink.transport.is_closing():
                    break
                sink.write(data)
                await sink.drain()
                if direction == TO_SCANBELL and len(data) > REQUESTS:
                    await self._moment("broker", "delivered")
        except (ConnectionError, OSError):
            pass
        sink.transport.abort() if sink.transport.is_closing() else sink.close()
