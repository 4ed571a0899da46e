"""The schedule of faults of one seed: what goes wrong when, and for how long. Pure."""
from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Dict, List, Tuple

#: Faults of a provider that last for a while, and how many of its answers they hit.
PROVIDER = {"500": 0.9, "429": 0.7, "reset": 0.7, "drip": 0.5, "garbage": 0.7, "cut body": 0.7, "hang": 0.4,
            "down": 1.0, "401": 1.0}

#: Faults of a receiver that last for a while. `lost`: it has the message, and the connection ends without an answer.
#: `late`: it answers, after some seconds.
RECEIVER = {"500": 1.0, "429": 0.8, "lost": 0.7, "late": 0.6, "garbage": 0.8, "drip": 0.7, "down": 1.0}

#: Faults of a mail server that last for a while.
MAILBOX = {"451": 1.0, "lost": 0.7, "late": 0.6, "down": 1.0}

#: How scanbell is killed: at once, or at the next moment of some kind.
KILLS = ("now", "now", "twice", "published", "delivered", "delivered", "acks held", "polled", "before answer", "after answer", "after answer")

#: How far the clock of the process is set, in seconds.
JUMPS = (7200, -3600, 90_000, 45, -45, 3, -3)


@dataclass(frozen=True)
class Window:
    """A fault of one place that lasts."""

    place: str
    kind: str
    start: float
    seconds: float

    @property
    def end(self) -> float:
        """When it is over."""
        return self.start + self.seconds


@dataclass(frozen=True)
class Event:
    """A fault of a moment; `detail` is its place, its direction or its amount."""

    at: float
    kind: str
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """Everything that goes wrong in one run, and how long requests are published."""

    publishing: float
    seconds: float
    events: List[Event]
    windows: List[Window]
    clock: bool

    def lines(self) -> List[str]:
        """For a person."""
        told: List[Tuple[float, str]] = [(e.at, f"{e.kind} {e.detail} {e.seconds or ''}") for e in self.events]
        told += [(w.start, f"{w.place}: {w.kind} for {w.seconds:.1f} s") for w in self.windows]
        return [f"{at:6.2f} s  {text}".rstrip() for at, text in sorted(told)]


#: The kinds that a run can be restricted to.
KINDS = ("kill", "term", "broker", "proxy", "provider", "receiver", "clock", "long")


def draw(seed: int, requests: int, kinds: Tuple[str, ...] = KINDS) -> Schedule:
    """The schedule of a seed. Rare faults that take long are in a few schedules only."""
    chance = random.Random(f"faults {seed}")
    publishing = min(5.0, max(2.0, requests / 100))
    seconds = publishing + 1.5
    makers = {"kill": kills, "term": terms, "broker": broker, "proxy": proxy, "provider": provider,
              "receiver": receivers, "clock": clock, "long": long_ones}
    events: List[Event] = []
    windows: List[Window] = []
    for kind, make in makers.items():
        for fault in make(random.Random(chance.random()), seconds):  # each kind draws for itself
            if kind in kinds:
                (events if isinstance(fault, Event) else windows).append(fault)  # type: ignore[arg-type]
    events.sort(key=lambda event: event.at)
    return Schedule(publishing, seconds, events, windows, any(e.kind == "clock" for e in events))


def kills(chance: random.Random, seconds: float) -> List[Event]:
    """One to four, the later ones often soon after a start."""
    found = []
    for _ in range(chance.choice((1, 2, 2, 3, 4))):
        kind = chance.choice(KILLS)
        place = chance.choice(("hook", "frail", "slack", "mail")) if "answer" in kind else ""
        found.append(Event(chance.uniform(0.2, seconds), f"kill {kind}", place))
    return found


def terms(chance: random.Random, seconds: float) -> List[Event]:
    """SIGTERM and a new start, in some runs."""
    return [Event(chance.uniform(0.2, seconds), "term") for _ in range(chance.choice((0, 0, 1)))]


def broker(chance: random.Random, seconds: float) -> List[Event]:
    """The broker goes down, politely or not, in one of five runs: it takes long to come back."""
    if chance.random() >= 0.2:
        return []
    return [Event(chance.uniform(0.5, seconds - 1.5), "broker", chance.choice(("stopped", "killed")))]


def proxy(chance: random.Random, seconds: float) -> List[Event]:
    """The connection to the broker is cut, or stalls and goes on, or stalls and is cut."""
    found = [Event(chance.uniform(0.2, seconds), "cut") for _ in range(chance.choice((0, 0, 1, 2)))]
    for _ in range(chance.choice((0, 1, 1))):
        direction = chance.choice(("both ways", "to broker", "to scanbell"))
        kind = chance.choice(("stall", "stall and cut"))
        found.append(Event(chance.uniform(0.2, seconds - 0.5), kind, direction, chance.uniform(0.3, 2.5)))
    return found


def provider(chance: random.Random, seconds: float) -> List[Window]:
    """The scan APIs fail for a while."""
    found = []
    for _ in range(chance.choice((1, 2, 3))):
        kind = chance.choice([kind for kind in PROVIDER if kind != "401"])
        place = chance.choice(("sieve", "sieve", "enkrypt"))
        found.append(window(chance, place, kind, seconds, 2.0))
    if chance.random() < 0.15:
        found.append(window(chance, "sieve", "401", seconds, 1.0))
    return found


def receivers(chance: random.Random, seconds: float) -> List[Window]:
    """Each destination fails now and then; `frail` long enough that some deliveries die."""
    found = []
    for place, kinds in places().items():
        for _ in range(chance.choice((0, 1, 2))):
            found.append(window(chance, place, chance.choice(list(kinds)), seconds, 2.0))
    if chance.random() < 0.3:
        kind = chance.choice(("500", "down"))
        found.append(Window("frail", kind, chance.uniform(0.0, 1.0), min(4.0, seconds - 1.0)))
    return found


def places() -> Dict[str, Dict[str, float]]:
    """The faults that each destination knows."""
    return {"hook": RECEIVER, "frail": RECEIVER, "slack": RECEIVER, "mail": MAILBOX}


def clock(chance: random.Random, seconds: float) -> List[Event]:
    """The clock of the process is set, in one of three runs."""
    if chance.random() >= 0.33:
        return []
    jumps = [chance.choice(JUMPS) for _ in range(chance.choice((1, 1, 2)))]
    return [Event(chance.uniform(0.5, seconds), "clock", f"{jump:+d}") for jump in jumps]


def long_ones(chance: random.Random, seconds: float) -> List[object]:
    """Faults that scanbell itself has to notice by its own time-outs, in a few runs."""
    found: List[object] = []
    if chance.random() < 0.06:
        place = chance.choice(("hook", "slack"))
        found.append(Window(place, "hang", chance.uniform(0.5, seconds - 0.7), 0.6))
    if chance.random() < 0.04:
        found.append(Event(chance.uniform(0.5, seconds), "stall until noticed", "both ways"))
    return found


def window(chance: random.Random, place: str, kind: str, seconds: float, longest: float) -> Window:
    """Somewhere in the run."""
    length = chance.uniform(0.3, longest)
    return Window(place, kind, chance.uniform(0.0, seconds - length), length)
