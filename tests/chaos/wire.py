"""HTTP on loopback, close to the socket: a server that can also hang, drip, lie, reset and be down."""
from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import socket
import time
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional, Set

#: Below the range of outgoing connections, so that nobody takes the port of a listener that is down for a while.
PORTS = range(7000, 12000)

_handed_out: Set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on, another one each time; runs beside each other choose apart."""
    mine = PORTS[os.getpid() % 25 * 200:][:200]
    while True:
        port = random.choice(mine)
        if port in _handed_out:
            continue
        _handed_out.add(port)
        if len(_handed_out) > len(mine) // 2:
            _handed_out.clear()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Exchange:
    """One request that has been read, and its answer."""

    def __init__(self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ", 2)
        self.headers = {name.strip().lower(): text.strip() for name, _, text in (x.partition(":") for x in lines[1:])}
        self.body = body
        self.at = time.monotonic()
        self._reader = reader
        self.writer = writer

    def left(self) -> bool:
        """Whether the client has gone without waiting for the answer."""
        return self._reader.at_eof() or self.writer.transport.is_closing()

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer."""
        await self.raw(head(status, len(body), headers) + body)

    async def json(self, value: Any, status: int = 200, **headers: str) -> None:
        """An answer in JSON."""
        await self.answer(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    async def hang(self, seconds: float) -> None:
        """No word for so long, or until the client has had enough."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.left():
            await asyncio.sleep(0.05)

    async def raw(self, data: bytes) -> None:
        """These bytes, whatever they are."""
        if not self.writer.transport.is_closing():
            self.writer.write(data)
            await self.writer.drain()

    async def drip(self, status: int, body: bytes, seconds: float) -> None:
        """An answer that takes its time, a few bytes at a time."""
        data = head(status, len(body), {"Content_Type": "application/json"}) + body
        step = max(1, len(data) // 20)
        for start in range(0, len(data), step):
            await self.raw(data[start:start + step])
            await asyncio.sleep(seconds / 20)

    def reset(self) -> None:
        """The connection ends without another word (RST)."""
        abort(self.writer)


def head(status: int, length: int, headers: Mapping[str, str]) -> bytes:
    """Status line and headers; `Retry_After="1"` becomes `Retry-After: 1`."""
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def abort(writer: asyncio.StreamWriter) -> None:
    """Closes with a reset."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()


#: Seconds in which a port that was free when it was chosen must be free again.
PORT_WITHIN = 30.0


class Server:
    """Reads requests and hands each to `take`, which answers it."""

    def __init__(self, take: Callable[[Exchange], Awaitable[None]]) -> None:
        self._take = take
        self.port = free_port()
        self._listener: Optional[asyncio.AbstractServer] = None
        self._writers: Set[asyncio.StreamWriter] = set()
        self.on_cut: Callable[[asyncio.StreamWriter], None] = lambda _: None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    async def up(self) -> None:
        """Listens, if it does not; waits if somebody else took the port meanwhile."""
        deadline = asyncio.get_running_loop().time() + PORT_WITHIN
        while self._listener is None:
            try:
                self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def down(self) -> None:
        """Stops listening and ends every connection: who calls now is refused."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._writers):
            self.on_cut(writer)
            abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                start = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(length_of(start))
                await self._take(Exchange(start[:-4], body, reader, writer))
                if writer.transport.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


def length_of(start: bytes) -> int:
    """The length of the body that a head announces."""
    for line in start.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


