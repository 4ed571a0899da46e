"""The oracle: which scans there are, who asks for them in which form, and what is owed for each.

Everything follows from the seed. What is owed is worked out from the contract and from this suite's own configuration,
never from what scanbell says.
"""
from __future__ import annotations

import base64
import json
import random
import uuid
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

#: Destinations of the configuration; `ops` hears of scanbell's own trouble only.
EVERYWHERE = ("hook", "frail", "slack", "mail")

#: How long a scan with `end="timed_out"` is followed, in seconds.
SHORT_DEADLINE = 3

#: How often each end comes up, out of 100.
ENDS = {"clean": 36, "threat": 22, "suspicious": 5, "failed": 8, "unsupported": 4, "not_found": 5, "timed_out": 3,
        "enkrypt clean": 9, "enkrypt threat": 8}

OUTCOMES = {"clean": "completed", "threat": "completed", "suspicious": "completed", "failed": "failed",
            "unsupported": "unsupported", "not_found": "not_found", "timed_out": "timed_out",
            "enkrypt clean": "completed", "enkrypt threat": "completed"}


@dataclass(frozen=True)
class Scan:
    """A scan at a provider: how it will end, and how long that takes."""

    id: str
    end: str
    running: int
    stumbles: Tuple[str, ...]
    rejected_by: Optional[str]

    @property
    def provider(self) -> str:
        """Its provider's name in the configuration."""
        return "enkrypt" if self.end.startswith("enkrypt") else "sieve"

    @property
    def outcome(self) -> str:
        """The one outcome it must end in."""
        return OUTCOMES[self.end]


@dataclass(frozen=True)
class Ask:
    """What one request wants beyond following the scan."""

    destinations: Optional[Tuple[str, ...]] = None
    labels: Tuple[Tuple[str, str], ...] = ()
    force: bool = False

    def due(self, scan: Scan) -> FrozenSet[str]:
        """Who has to be told: the destinations it names, else those of the routes (see `world.ROUTES`)."""
        if self.destinations is not None:
            return frozenset(self.destinations)
        labels = dict(self.labels)
        if labels.get("mute") == "yes":
            return frozenset()
        told = {"hook", "frail"}
        if scan.end.endswith("threat"):
            told |= {"slack", "mail"}
        if scan.outcome != "completed":
            told.add("slack")
        if labels.get("team") == "red":
            told.add("mail")
        return frozenset(told)


@dataclass(frozen=True)
class Bad:
    """A message, or an entry of one, that must land on the dead-letter queue."""

    marker: str
    reason: str
    body: bytes


@dataclass(frozen=True)
class Message:
    """One message to publish; `marker` travels as a header."""

    marker: str
    body: bytes
    asks: Tuple[Tuple[str, Ask], ...] = ()
    bad: Tuple[Bad, ...] = ()
    message_id: Optional[str] = None
    content_type: Optional[str] = None
    headers: Tuple[Tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Work:
    """All of a run: scans, messages in their order, and the fresh request for the end."""

    scans: Dict[str, Scan]
    messages: List[Message]
    fresh: Message
    fresh_scan: str
    requests: int = field(default=0)


class Oracle:
    """Makes the work of one seed."""

    def __init__(self, seed: int, requests: int) -> None:
        self._random = random.Random(f"work {seed}")
        self._wanted = requests
        self._made = 0
        self._scans: Dict[str, Scan] = {}
        self._messages: List[Message] = []

    def make(self) -> Work:
        """Draws until there are enough requests, bad ones included."""
        while self._made < self._wanted:
            kind = self._pick({"one": 56, "array": 8, "bad": 7, "repeat": 7, "again": 5, "force": 3, "event": 14})
            getattr(self, f"_{kind}")()
        fresh = self._scan("threat", plain=True)
        marker = "fresh"
        body = json.dumps({"scan_id": fresh.id, "provider": "sieve", "destinations": list(EVERYWHERE)}).encode()
        message = Message(marker, body, ((fresh.id, Ask(EVERYWHERE)),))
        return Work(self._scans, self._messages, message, fresh.id, self._made)

    def _pick(self, weights: Dict[str, int]) -> str:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _scan(self, end: Optional[str] = None, plain: bool = False) -> Scan:
        """A new scan. A plain one is never rejected by a receiver."""
        draw = self._random
        end = end or self._pick(ENDS)
        stumbles = tuple(draw.choice(STUMBLES) for _ in range(draw.choice((0, 0, 0, 1, 2))))
        rejected = draw.choice(("hook", "slack", None)) if draw.random() < 0.06 and not plain else None
        scan = Scan(self._uuid(), end, draw.randint(0, 4), stumbles, rejected)
        self._scans[scan.id] = scan
        return scan

    def _ask(self) -> Ask:
        draw = self._random
        labels: Dict[str, str] = {}
        if draw.random() < 0.25:
            labels["team"] = draw.choice(("red", "blue", "green"))
        if draw.random() < 0.04:
            labels["mute"] = "yes"
        destinations = None
        if draw.random() < 0.12:
            destinations = tuple(sorted(draw.sample(EVERYWHERE, draw.randint(0, 3))))
        return Ask(destinations, tuple(sorted(labels.items())))

    def _entry(self, scan: Scan, ask: Ask) -> Dict[str, Any]:
        """The JSON object of a request."""
        draw = self._random
        entry: Dict[str, Any] = {draw.choice(("scan_id", "scanId", "job_id")): scan.id}
        if scan.provider != "sieve" or draw.random() < 0.3:
            entry["provider"] = scan.provider
        if ask.labels:
            entry["labels"] = dict(ask.labels)
        if ask.destinations is not None:
            entry["destinations"] = list(ask.destinations)
        if ask.force:
            entry["force"] = True
        if scan.end == "timed_out":
            entry["deadline"] = f"{SHORT_DEADLINE}s"
        if draw.random() < 0.3:
            entry["id"] = f"caller-{self._uuid()}"
        if draw.random() < 0.1:
            entry["something_else"] = [1, {"a": None}]
        return entry

    def _send(self, body: Any, asks: List[Tuple[str, Ask]], bad: Tuple[Bad, ...] = (), **more: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        marker = bad[0].marker if bad else self._uuid()
        if "message_id" not in more and self._random.random() < 0.3:
            more["message_id"] = f"message-{self._uuid()}"
        self._messages.append(Message(marker, raw, tuple(asks), bad, **more))
        self._made += max(1, len(asks) + len(bad))

    def _one(self) -> None:
        """A bare ID, a JSON string or an object."""
        scan = self._scan()
        form = self._random.choice(("bare", "string", "object", "object"))
        if form == "object" or scan.provider != "sieve" or scan.end == "timed_out":
            ask = self._ask()
            self._send(self._entry(scan, ask), [(scan.id, ask)])
        else:
            body = scan.id.encode() if form == "bare" else json.dumps(scan.id).encode()
            self._send(body, [(scan.id, Ask())])

    def _array(self) -> None:
        """Several requests in one message, one of them sometimes bad."""
        asks, entries = [], []
        for _ in range(self._random.randint(2, 12)):
            scan, ask = self._scan(), self._ask()
            asks.append((scan.id, ask))
            entries.append(self._entry(scan, ask))
        bad: Tuple[Bad, ...] = ()
        if self._random.random() < 0.3:
            wrong = {"scan_id": f"not a scan {self._uuid()}", "provider": "sieve"}
            entries.insert(self._random.randint(0, len(entries)), wrong)
            bad = (Bad(self._uuid(), "invalid-scan-id", json.dumps(wrong).encode()),)
        self._send(entries, asks, bad)

    def _event(self) -> None:
        """A CloudEvent, structured or in binary mode."""
        scan, ask = self._scan(), self._ask()
        entry, source = self._entry(scan, ask), f"/oracle/{self._uuid()}"
        attributes = {"specversion": "1.0", "type": "scan.requested", "source": source, "id": self._uuid()}
        if self._random.random() < 0.5:
            headers = tuple((f"cloudEvents:{name}", text) for name, text in attributes.items())
            self._send(entry, [(scan.id, ask)], content_type="application/json", headers=headers)
            return
        data: Dict[str, Any] = {"data": entry}
        if self._random.random() < 0.3:
            data = {"data_base64": base64.b64encode(json.dumps(entry).encode()).decode()}
        self._send({**attributes, **data}, [(scan.id, ask)], content_type="application/cloudevents+json")

    def _bad(self) -> None:
        """A message that nobody can carry out."""
        marker = self._uuid()
        reason, body = self._random.choice(bad_bodies(marker, self._scan("clean").id))
        self._send(body, [], (Bad(marker, reason, body),))

    def _earlier(self) -> Optional[Message]:
        """A good message that was made before."""
        fit = [one for one in self._messages if one.asks and not one.bad and not self._times_out(one)]
        return self._random.choice(fit[-40:]) if fit else None

    def _times_out(self, message: Message) -> bool:
        return any(self._scans[scan].end == "timed_out" for scan, _ in message.asks)

    def _repeat(self) -> None:
        """The same message once more, to the byte."""
        earlier = self._earlier()
        if earlier is not None and not any(ask.force for _, ask in earlier.asks):
            self._messages.append(earlier)
            self._made += len(earlier.asks)

    def _again(self) -> None:
        """The same scan, asked for by somebody else who wants something else."""
        earlier = self._earlier()
        if earlier is not None:
            scan, ask = self._scans[earlier.asks[0][0]], self._ask()
            self._send(self._entry(scan, ask), [(scan.id, ask)])

    def _force(self) -> None:
        """The same scan, to be announced again even if it has been."""
        earlier = self._earlier()
        if earlier is not None:
            scan, ask = self._scans[earlier.asks[0][0]], Ask(("hook",), (), True)
            entry = {**self._entry(scan, ask), "id": f"forced-{self._uuid()}"}
            self._send(entry, [(scan.id, ask)])


#: What a provider may do once to a poll of one scan.
STUMBLES = ("500", "429", "reset", "drip", "garbage", "cut body")


def bad_bodies(marker: str, scan_id: str) -> List[Tuple[str, bytes]]:
    """Messages that are refused, with the reason that the contract names; each is unique by its marker."""
    return [
        ("not-json", b'{"scan_id": "' + marker.encode()),
        ("not-json", b"[1, 2" + marker.encode()),
        ("missing-scan-id", json.dumps({"something": marker}).encode()),
        ("invalid-scan-id", f"../{marker}/../../etc".encode()),
        ("unknown-provider", json.dumps({"scan_id": scan_id, "provider": f"nobody-{marker}"}).encode()),
        ("unknown-destination", json.dumps({"scan_id": scan_id, "destinations": [f"nowhere-{marker}"]}).encode()),
        ("invalid-field", json.dumps({"scan_id": scan_id, "labels": {"a": 1}, "x": marker}).encode()),
        ("invalid-field", json.dumps({"scan_id": scan_id, "deadline": "soon", "x": marker}).encode()),
        ("too-large", marker.encode() * (1024 * 1024 // 36 + 2)),
    ]
