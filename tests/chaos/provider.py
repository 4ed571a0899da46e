"""The two scan APIs with faults: per scan (`Scan.stumbles`) and for a while (`schedule.PROVIDER`)."""
from __future__ import annotations

import json
import time
from typing import Dict, List, Optional

from outside.providers import THREAT, enkrypt_body, sieve_body, sieve_is

from .ledger import Ledger
from .receivers import Faults, Moment
from .wire import Exchange, Server
from .work import Scan

ENKRYPT = {"enkrypt clean": {"severity": "None", "total": 0}, "enkrypt threat": {"severity": "High", "total": 5}}

SIEVE = {
    "clean": ("completed", {"riskCategory": "safe"}),
    "threat": ("completed", THREAT),
    "suspicious": ("completed", {"riskCategory": "suspicious", "severity": "medium"}),
    "failed": ("failed", {"error": "the scanner gave up"}),
    "unsupported": ("unsupported", {}),
}


class Provider:
    """One of the two; which one is told by its name."""

    def __init__(self, name: str, ledger: Ledger, faults: Faults, scans: Dict[str, Scan], moment: Moment) -> None:
        self.name = name
        self._ledger, self._faults, self._scans, self._moment = ledger, faults, scans, moment
        self._running: Dict[str, int] = {}
        self._stumbles: Dict[str, List[str]] = {}
        self.server = Server(self._take)

    async def _take(self, exchange: Exchange) -> None:
        parts = exchange.path.strip("/").split("/")
        scan_id = parts[2] if len(parts) > 2 else ""
        self._ledger.polls.setdefault(scan_id, []).append(exchange.at)
        try:
            await self._say(exchange, scan_id, parts[-1])
        finally:
            self._ledger.polls[scan_id].append(time.monotonic())

    async def _say(self, exchange: Exchange, scan_id: str, page: str) -> None:
        scan = self._scans.get(scan_id)
        fault = self._faults.roll(self.name) or self._stumble(scan)
        if fault is not None and await self._stumbles_by(fault, exchange):
            return
        body = self._body(scan, page)
        if body is None:
            await exchange.json({"error": "scan not found"}, 404)
        elif fault == "drip":
            await exchange.drip(200, body, self._faults.pause())
        elif fault == "cut body":
            await exchange.raw(b"HTTP/1.1 200 -\r\nContent-Length: 9999\r\n\r\n" + body[:40])
            exchange.reset()
        else:
            await exchange.answer(200, body, Content_Type="application/json")
        await self._moment(self.name, "after answer")

    def _stumble(self, scan: Optional[Scan]) -> Optional[str]:
        """What goes wrong with this poll of this scan alone; never where being late is what the scan is about."""
        if scan is None or scan.end in ("not_found", "timed_out"):
            return None
        left = self._stumbles.setdefault(scan.id, list(scan.stumbles))
        if left:
            self._ledger.faults[f"{self.name} one scan"] += 1
        return left.pop(0) if left else None

    async def _stumbles_by(self, fault: str, exchange: Exchange) -> bool:
        """Carries out a fault that leaves no proper answer; `False` for the others."""
        if fault == "500":
            await exchange.json({"error": "on purpose"}, 500)
        elif fault == "429":
            await exchange.json({"error": "slow down"}, 429, Retry_After="1")
        elif fault == "401":
            await exchange.json({"error": "key expired"}, 401)
        elif fault == "reset":
            exchange.reset()
        elif fault == "garbage":
            await exchange.answer(200, b"<html>maintenance</html>", Content_Type="text/html")
        elif fault == "hang":
            await exchange.hang(self._faults.pause())
            exchange.reset()
        else:
            return False
        return True

    def _body(self, scan: Optional[Scan], page: str) -> Optional[bytes]:
        """What the API says of a scan now; none if it does not know it."""
        if scan is None or scan.end == "not_found":
            return None
        left = self._running.setdefault(scan.id, scan.running)
        running = left > 0 or scan.end == "timed_out"
        if left > 0 and page != "results":
            self._running[scan.id] -= 1
        if not running:
            self._ledger.told.setdefault(scan.id, time.monotonic())
        if scan.provider == "enkrypt":
            return json.dumps(enkrypt_says(scan, page, running)).encode()
        if running:
            return sieve_is("processing")(scan.id).body
        status, fields = SIEVE[scan.end]
        fields = {**fields, "fileName": f"{scan.id}.pdf"}
        if status == "completed":
            return json.dumps(sieve_body(scan.id, status=status, **fields)).encode()
        return sieve_is(status, **fields)(scan.id).body


def enkrypt_says(scan: Scan, page: str, running: bool) -> Dict[str, object]:
    """The status of a job, or its results."""
    if running:
        return {"job_id": scan.id, "job_status": "scanning_tools", "error_message": None}
    if page == "status":
        return {"job_id": scan.id, "job_status": "completed", "error_message": None}
    facts = ENKRYPT[scan.end]
    return enkrypt_body(scan.id, facts["severity"], facts["total"], repo_name=f"user/{scan.id}")
