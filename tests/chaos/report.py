"""What came out, for people (text, Markdown) and for programs (JSON)."""
from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Sequence

from .run import Outcome

#: Complaints shown of one run; all of them are in its folder.
SHOWN = 12


def line(outcome: Outcome, folder: Path) -> str:
    """One run."""
    figures = outcome.verdict.figures
    word = "FAIL" if outcome.verdict.complaints else "ok  "
    text = (f"{word}  seed {outcome.seed}: {outcome.requests} requests, {figures.get('deliveries', 0)} deliveries, "
            f"{outcome.kills} kills, {sum(outcome.faults.values())} faults, "
            f"settled after {outcome.settled_after:.1f} s, {outcome.seconds:.1f} s")
    if not outcome.verdict.complaints:
        return text
    notes = ["what happened:", *outcome.schedule, "", "what is wrong:", *outcome.verdict.complaints]
    (folder / "judgement.txt").write_text("\n".join(notes) + "\n")
    shown = [f"      {complaint}" for complaint in outcome.verdict.complaints[:SHOWN]]
    more = len(outcome.verdict.complaints) - SHOWN
    shown += [f"      and {more} more"] if more > 0 else []
    again = f"      again: scripts/chaos --seed {outcome.seed} --runs 1 --requests {outcome.wanted}; all in {folder}"
    return "\n".join([text, *(f"      | {fault}" for fault in outcome.schedule), *shown, again])


def sums(outcomes: Sequence[Outcome]) -> Dict[str, int]:
    """Figures over all runs."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.verdict.figures)
        total["requests"] += outcome.requests
        total["kills"] += outcome.kills
    return dict(total)


def faults(outcomes: Sequence[Outcome]) -> Dict[str, int]:
    """How often each kind of fault hit."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.faults)
    return dict(sorted(total.items()))


def grouped(outcomes: Sequence[Outcome]) -> Dict[str, int]:
    """The faults in the words of a table."""
    found = faults(outcomes)
    places = ("hook", "frail", "slack", "mail")
    count = lambda test: sum(many for name, many in found.items() if test(name))  # noqa: E731
    return {
        "kills (SIGKILL)": count(lambda name: name.startswith("kill")),
        "stops (SIGTERM)": found.get("SIGTERM", 0),
        "broker stopped or killed": count(lambda name: name.startswith("broker")),
        "connections to the broker cut": count(lambda name: name == "connection cut"),
        "connections to the broker stalled": count(lambda name: name.startswith("connection stall")),
        "clock set": count(lambda name: name.startswith("clock")),
        "wrong answers of providers": count(lambda name: name.split()[0] in ("sieve", "enkrypt")),
        "wrong answers of destinations": count(lambda name: name.split()[0] in places),
    }


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Markdown, readable as it is."""
    total = sums(outcomes)
    killed = max(1, total.get("kills", 0))
    rows = [
        ("runs", len(outcomes)),
        ("requests", total.get("requests", 0)),
        ("scans followed", total.get("scans", 0)),
        ("deliveries", total.get("deliveries", 0)),
        *grouped(outcomes).items(),
        ("**lost**", total.get("lost", 0)),
        ("unknown, changed or unexplained", sum(total.get(kind, 0) for kind in (
            "unknown", "changed", "doubled", "wrong outcome", "stuck", "crash"))),
        ("dead, each with its reason", total.get("dead", 0)),
        ("repeated after a kill", total.get("duplicates after a kill", 0)),
        ("repeated after a kill, per kill", f"{total.get('duplicates after a kill', 0) / killed:.2f}"),
        ("repeated after a lost answer", total.get("duplicates after a lost answer", 0)),
        ("bad messages, all on the dead-letter queue", total.get("bad", 0)),
        ("of these there twice", total.get("dead letters again", 0)),
        ("settled after the last fault, median", f"{median([o.settled_after for o in outcomes]):.1f} s"),
        ("minutes", f"{seconds / 60:.1f}"),
    ]
    lines = ["", "| what | how many |", "|---|---:|"]
    lines += [f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value} |" for name, value in rows]
    return "\n".join([*lines, ""])


def median(values: List[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2] if values else 0.0


def data(outcomes: Sequence[Outcome], seconds: float) -> Dict[str, Any]:
    """Everything."""
    return {"seconds": seconds, "sums": sums(outcomes), "faults": faults(outcomes),
            "runs": [asdict(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.seed)]}
