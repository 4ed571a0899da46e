"""What really happened, as the world around scanbell saw it: arrivals, polls, disruptions. The judge reads it."""
from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Counter as CounterOf, Dict, List, Optional

#: What a receiver said. `ok`: it has the message and said so. `refused`: it said that it did not take it. `lost`: it
#: has the message, its answer never went out. `unsure`: the answer may or may not have been read.
ANSWERS = ("ok", "refused", "lost", "unsure")


@dataclass
class Arrival:
    """One message at one destination."""

    destination: str
    delivery: Optional[str]
    scan: Optional[str]
    digest: str
    at: float
    answer: str = "lost"
    answered_at: Optional[float] = None
    signed: bool = True

    def has_it(self) -> bool:
        """Whether the receiver took it."""
        return self.answer != "refused"


@dataclass
class Kill:
    """An end of scanbell that left things in hand, and when it was started again: what arrives until then is its last."""

    at: float
    until: float = float("inf")


@dataclass
class Ledger:
    """Everything of one run, by the monotonic clock of this process."""

    #: When the schedule began.
    began: float = 0.0
    arrivals: List[Arrival] = field(default_factory=list)
    polls: Dict[str, List[float]] = field(default_factory=dict)
    #: When the provider said of a scan for the first time how it ended.
    told: Dict[str, float] = field(default_factory=dict)
    published: Dict[str, float] = field(default_factory=dict)
    #: Messages of which the broker may have more copies than were confirmed, by marker.
    unconfirmed: CounterOf[str] = field(default_factory=Counter)
    #: When scanbell was killed, or left something in hand at a SIGTERM.
    kills: List[Kill] = field(default_factory=list)
    #: When the connection to the broker was lost.
    cuts: List[float] = field(default_factory=list)
    faults: CounterOf[str] = field(default_factory=Counter)
    unexpected: List[str] = field(default_factory=list)

    def arrived(self, destination: str, delivery: Optional[str], scan: Optional[str], body: bytes, at: float) -> Arrival:
        """Writes down a message that came."""
        arrival = Arrival(destination, delivery, scan, hashlib.sha256(body).hexdigest(), at)
        self.arrivals.append(arrival)
        return arrival


def settled(arrival: Arrival, answer: str, at: float) -> None:
    """Writes down what was said to it."""
    arrival.answer, arrival.answered_at = answer, at
