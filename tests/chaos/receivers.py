"""Destinations with faults of their own: webhooks, Slack, mail. Each writes into the ledger what came and what it said."""
from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
import re
import time
from typing import Any, Awaitable, Callable, Dict, Optional

from aiosmtpd.smtp import SMTP

from .ledger import Arrival, Ledger, settled
from .schedule import MAILBOX, PROVIDER, RECEIVER
from .wire import Exchange, Server, abort, free_port

#: An answer that was sent so shortly before the connection was cut may not have been read.
IN_FLIGHT = 1.0

UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

#: Called around the answer to a message or a poll: where, and `before answer` or `after answer`.
Moment = Callable[[str, str], Awaitable[None]]


class Faults:
    """Which fault is on at each place now."""

    def __init__(self, seed: int, ledger: Ledger) -> None:
        self._random = random.Random(f"dice {seed}")
        self._now: Dict[str, Dict[str, int]] = {}
        self._ledger = ledger

    def begin(self, place: str, kind: str) -> None:
        """From now on."""
        kinds = self._now.setdefault(place, {})
        kinds[kind] = kinds.get(kind, 0) + 1

    def end(self, place: str, kind: str) -> bool:
        """Over; whether it was the last of its kind there."""
        self._now[place][kind] -= 1
        return self._now[place][kind] == 0

    def roll(self, place: str) -> Optional[str]:
        """The fault that hits this one, if any."""
        for kind, count in self._now.get(place, {}).items():
            often = {**RECEIVER, **PROVIDER, **MAILBOX, "hang": 1.0}.get(kind, 1.0)
            if count and kind != "down" and self._random.random() < often:
                self._ledger.faults[f"{place} {kind}"] += 1
                return kind
        return None

    def pause(self) -> float:
        """How long something late takes."""
        return self._random.uniform(0.3, 1.5)


class Receiver:
    """A webhook or Slack destination."""

    def __init__(self, name: str, ledger: Ledger, faults: Faults, scans: Dict[str, Any], moment: Moment) -> None:
        self.name = name
        self._ledger, self._faults, self._scans, self._moment = ledger, faults, scans, moment
        self.secret = base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
        self.server = Server(self._take)
        self.server.on_cut = self._cut
        self._last: Dict[Any, Arrival] = {}

    def _cut(self, writer: asyncio.StreamWriter) -> None:
        arrival = self._last.get(writer)
        if arrival is not None and time.monotonic() - (arrival.answered_at or 0) < IN_FLIGHT:
            arrival.answer = "unsure" if arrival.answer == "ok" else arrival.answer

    async def _take(self, exchange: Exchange) -> None:
        scan = self.scan_of(exchange.body)
        delivery = exchange.headers.get("webhook-id")
        arrival = self._ledger.arrived(self.name, delivery, scan, exchange.body, exchange.at)
        arrival.signed = self.name == "slack" or self._signed(exchange)
        self._last[exchange.writer] = arrival
        await self._moment(self.name, "before answer")
        said = await self._answer(exchange, scan)
        if said == "ok" and exchange.left():
            said = "unsure"  # before or after it had read the answer
        settled(arrival, said, time.monotonic())
        await self._moment(self.name, "after answer")

    def scan_of(self, body: bytes) -> Optional[str]:
        """The scan that a message speaks of."""
        return next((found for found in map(bytes.decode, UUID.findall(body)) if found in self._scans), None)

    def _signed(self, exchange: Exchange) -> bool:
        """Standard Webhooks, by hand: the official library also judges the time, and here clocks are set."""
        stamp = f"{exchange.headers.get('webhook-id')}.{exchange.headers.get('webhook-timestamp')}."
        key = base64.b64decode(self.secret)
        digest = hmac.new(key, stamp.encode() + exchange.body, hashlib.sha256).digest()
        return exchange.headers.get("webhook-signature") == "v1," + base64.b64encode(digest).decode()

    async def _answer(self, exchange: Exchange, scan: Optional[str]) -> str:
        """Answers as the fault of the moment wants; what was said, see `ledger.ANSWERS`."""
        planned = self._scans.get(scan or "")
        fault = self._faults.roll(self.name)
        if fault == "500":
            await exchange.answer(random.choice((500, 502, 503)), b"on purpose")
            return "refused"
        if fault == "429":
            await exchange.answer(429, b"slow down", Retry_After="1")
            return "refused"
        if fault == "lost":
            exchange.reset()
            return "lost"
        if fault == "hang":
            await exchange.hang(25)
            exchange.reset()
            return "lost"
        if fault == "garbage":
            await exchange.raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            exchange.reset()
            return "lost"
        if planned is not None and planned.rejected_by == self.name:
            await exchange.answer(410, b"gone for good")
            return "refused"
        if fault == "late":
            await asyncio.sleep(self._faults.pause())
        if fault == "drip":
            await exchange.drip(200, b"ok", self._faults.pause())
        else:
            await exchange.answer(200, b"ok")
        return "ok"


class Mailbox:
    """A mail server."""

    def __init__(self, ledger: Ledger, faults: Faults, find: Callable[[bytes], Optional[str]], moment: Moment) -> None:
        self._ledger, self._faults, self._find, self._moment = ledger, faults, find, moment
        self.port = free_port()
        self._listener: Optional[asyncio.AbstractServer] = None
        self._open: Dict[SMTP, Optional[Arrival]] = {}

    async def up(self) -> None:
        """Listens, if it does not."""
        if self._listener is None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(self._session, "127.0.0.1", self.port)

    async def down(self) -> None:
        """Stops listening and ends every connection."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for session, arrival in list(self._open.items()):
            if arrival is not None and time.monotonic() - (arrival.answered_at or 0) < IN_FLIGHT:
                arrival.answer = "unsure" if arrival.answer == "ok" else arrival.answer
            if session.transport is not None:
                session.transport.abort()
        self._open.clear()

    def _session(self) -> SMTP:
        session = SMTP(self, enable_SMTPUTF8=True, hostname="localhost")
        self._open[session] = None
        return session

    async def handle_DATA(self, server: SMTP, _session: Any, envelope: Any) -> str:
        """aiosmtpd's hook for a whole mail."""
        body = bytes(envelope.content)
        found = re.search(rb"^Message-ID: <scanbell-([0-9a-f-]{36})@", body, re.MULTILINE)
        delivery = found.group(1).decode() if found else None
        arrival = self._ledger.arrived("mail", delivery, self._find(body), body, time.monotonic())
        self._open[server] = arrival
        await self._moment("mail", "before answer")
        said, words = await self._answer(server)
        settled(arrival, said, time.monotonic())
        asyncio.get_running_loop().call_later(0.005, lambda: asyncio.ensure_future(self._moment("mail", "after answer")))
        return words

    async def _answer(self, server: SMTP) -> "tuple[str, str]":
        fault = self._faults.roll("mail")
        if fault == "451":
            return "refused", "451 not now"
        if fault == "late":
            await asyncio.sleep(self._faults.pause())
        if fault == "lost" or server.transport is None or server.transport.is_closing():
            if server.transport is not None:
                server.transport.abort()
            return "lost", "421 gone"
        return "ok", "250 taken"


__all__ = ["Faults", "Mailbox", "Receiver", "abort"]
