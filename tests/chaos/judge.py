"""The judge: what was owed, against what happened. Pure, so that it can be shown to fail (`selftest`)."""
from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Any, Counter as CounterOf, Dict, FrozenSet, Iterable, List, Set, Tuple

from outside.broker import Message as Letter

from .ledger import Arrival, Ledger
from .node import marker_of
from .schedule import Schedule
from .work import EVERYWHERE, SHORT_DEADLINE, Ask, Bad, Message, Scan, Work

#: A delivery whose answer had come is written down within this, also on a busy machine. A kill later than that
#: explains no repetition.
WRITTEN_WITHIN = 1.0

#: `retry.give_up_after` of `frail`, in seconds; see `world`.
FRAIL_GIVES_UP = 1.5


@dataclass
class Evidence:
    """All that is known after a run."""

    work: Work
    schedule: Schedule
    ledger: Ledger
    scans: List[Dict[str, Any]]
    deliveries: List[Dict[str, Any]]
    letters: List[Letter]
    #: Requests left on the queue after scanbell had stopped.
    left_over: int = 0
    fresh_arrived: FrozenSet[str] = frozenset(EVERYWHERE)


@dataclass
class Verdict:
    """What the judge says."""

    complaints: List[str] = field(default_factory=list)
    figures: Dict[str, int] = field(default_factory=dict)


@dataclass
class Owed:
    """What is owed for one scan: by all who asked for it."""

    asks: List[Ask] = field(default_factory=list)

    def rows(self) -> int:
        """The most rows there may be: one, and one more for each that forces."""
        return 1 + sum(ask.force for ask in self.asks)


def judge(evidence: Evidence) -> Verdict:
    """Everything that is wrong."""
    return Judge(evidence).judge()


class Judge:
    """One judgement."""

    def __init__(self, evidence: Evidence) -> None:
        self._e = evidence
        self._ledger = evidence.ledger
        self._complaints: List[str] = []
        self._figures: Dict[str, int] = defaultdict(int)
        self._owed: Dict[str, Owed] = defaultdict(Owed)
        for message in [*evidence.work.messages, evidence.work.fresh]:
            for scan, ask in message.asks:
                self._owed[scan].asks.append(ask)
        self._rows: Dict[str, List[Dict[str, Any]]] = defaultdict(list)
        for row in evidence.scans:
            self._rows[row["scan_id"]].append(row)
        self._of_row: Dict[str, List[Dict[str, Any]]] = defaultdict(list)
        for delivery in evidence.deliveries:
            self._of_row[delivery["scan"] or ""].append(delivery)

    def judge(self) -> Verdict:
        """Each of the promises in turn."""
        for scan_id, owed in self._owed.items():
            self._judge_scan(self._e.work.scans[scan_id], owed)
        self._judge_unknown_rows()
        self._judge_arrivals()
        self._judge_letters()
        self._judge_end()
        self._figures["lost"] += 0
        return Verdict(self._complaints, dict(self._figures))

    def _complain(self, kind: str, text: str) -> None:
        self._figures[kind] += 1
        self._complaints.append(f"{kind}: {text}")

    # Scans and their deliveries.

    def _judge_scan(self, scan: Scan, owed: Owed) -> None:
        rows = self._rows.get(scan.id, [])
        self._figures["scans"] += len(rows)
        if not rows:
            self._complain("lost", f"scan {scan.id} ({scan.end}) was accepted by the broker and is not known")
        if len(rows) > owed.rows():
            self._complain("doubled", f"scan {scan.id} is followed {len(rows)} times, {owed.rows()} at most are owed")
        for row in rows:
            self._judge_row(scan, owed, row)
        self._judge_due(scan, owed, rows)

    def _judge_row(self, scan: Scan, owed: Owed, row: Dict[str, Any]) -> None:
        if row["state"] != "finished":
            self._complain("lost", f"scan {scan.id} ({scan.end}) never finished: {brief(row)}")
            return
        if row["outcome"] != scan.outcome:
            self._complain("wrong outcome", f"scan {scan.id} is {scan.outcome}, scanbell says {row['outcome']}: "
                                            f"{brief(row)}")
        verdict = VERDICTS.get(scan.end, "unknown")
        if row["outcome"] == scan.outcome and (row.get("report") or {}).get("verdict") != verdict:
            self._complain("wrong outcome", f"scan {scan.id} is {verdict}: {brief(row)}")
        if row["outcome"] == "timed_out" and scan.end == "timed_out":
            self._judge_patience(scan)

    def _judge_patience(self, scan: Scan) -> None:
        """Nobody is told "timed out" before the deadline, whatever the clock of the process says."""
        if any(window.place == scan.provider and window.kind == "down" for window in self._e.schedule.windows):
            return  # who is down does not see the last poll
        asked = min((self._ledger.published.get(m.marker, 0.0) for m in self._e.work.messages
                     if any(scan.id == found for found, _ in m.asks)), default=0.0)
        followed = max(self._ledger.polls.get(scan.id, [0.0])) - asked
        # A clock that follows one that was set runs a tenth too fast at most.
        if followed < SHORT_DEADLINE * 0.9 - 0.1:
            self._complain("wrong outcome", f"scan {scan.id} timed out after {followed:.1f} s of {SHORT_DEADLINE}")

    def _judge_due(self, scan: Scan, owed: Owed, rows: List[Dict[str, Any]]) -> None:
        """Which destinations must have a delivery: of all who asked where they agree, of one of them where not."""
        wishes = [ask.due(scan) for ask in owed.asks if not ask.force] or [ask.due(scan) for ask in owed.asks]
        surely = frozenset.intersection(*wishes)
        # Routes see the labels of all who asked, with those of the one over them.
        merged = {name: text for ask in reversed(owed.asks) for name, text in ask.labels}
        on_top = [replace(ask, labels=tuple({**merged, **dict(ask.labels)}.items())) for ask in owed.asks]
        perhaps = frozenset.union(*(ask.due(scan) for ask in [*owed.asks, *on_top]))
        told: Set[str] = set()
        for row in rows:
            of_row = self._of_row.get(row["id"], [])
            names = Counter(delivery["destination"] for delivery in of_row)
            told |= set(names)
            for name, count in names.items():
                if count > 1:
                    self._complain("doubled", f"scan {scan.id}: {count} deliveries to {name}")
            if unknown := set(names) - perhaps:
                self._complain("unknown", f"scan {scan.id} ({scan.end}): nobody asked to tell {sorted(unknown)}")
            for delivery in of_row:
                self._judge_delivery(scan, delivery)
        if rows and not surely <= told:
            self._complain("lost", f"scan {scan.id} ({scan.end}): {sorted(surely - told)} must be told and are not")
        forced = frozenset[str]().union(*(ask.due(scan) for ask in owed.asks if ask.force))
        if rows and not forced <= told:
            self._complain("lost", f"scan {scan.id}: {sorted(forced - told)} were to be told in any case")
        if rows and not any(wish <= told for wish in wishes):
            self._complain("lost", f"scan {scan.id} ({scan.end}): told {sorted(told)}, nobody's whole wish "
                                   f"{[sorted(wish) for wish in wishes]}")

    def _judge_delivery(self, scan: Scan, delivery: Dict[str, Any]) -> None:
        """It arrived, or is dead for a reason that the world knows of."""
        self._figures["deliveries"] += 1
        name, state, reason = delivery["destination"], delivery["state"], delivery["reason"]
        taken = any(arrival.answer in ("ok", "unsure") for arrival in self._arrivals(delivery, scan))
        if state == "delivered" and not taken:
            self._complain("lost", f"scan {scan.id}: {name} counts as told and has no message: {brief(delivery)}")
        elif state == "dead":
            self._figures["dead"] += 1
            if not self._is_right_to_die(scan, name, reason):
                self._complain("lost", f"scan {scan.id}: the delivery to {name} is dead without cause: "
                                       f"{brief(delivery)}")
        elif state != "delivered":
            self._complain("lost", f"scan {scan.id}: {name} is not told: {brief(delivery)}")

    def _is_right_to_die(self, scan: Scan, name: str, reason: str) -> bool:
        if reason == "rejected":
            return scan.rejected_by == name
        if reason != "gave_up" or name != "frail":
            return False
        # It was tried for as long as the configuration says, by a clock that nobody sets.
        ends = [window.end for window in self._e.schedule.windows if window.place == "frail"]
        told = self._ledger.told.get(scan.id, min(self._ledger.polls.get(scan.id, [0.0])))
        return bool(ends) and self._ledger.began + max(ends) + 0.5 - told >= FRAIL_GIVES_UP

    def _arrivals(self, delivery: Dict[str, Any], scan: Scan) -> List[Arrival]:
        name = delivery["destination"]
        if name == "slack":
            return [one for one in self._ledger.arrivals if one.destination == name and one.scan == scan.id]
        return self._by_delivery().get((name, delivery["id"]), [])

    def _by_delivery(self) -> Dict[Tuple[str, str], List[Arrival]]:
        if not hasattr(self, "_index"):
            self._index: Dict[Tuple[str, str], List[Arrival]] = defaultdict(list)
            for arrival in self._ledger.arrivals:
                self._index[(arrival.destination, key_of(arrival))].append(arrival)
        return self._index

    def _judge_unknown_rows(self) -> None:
        for scan_id in set(self._rows) - set(self._owed):
            self._complain("unknown", f"scan {scan_id} is followed and nobody asked for it")

    # What arrived.

    def _judge_arrivals(self) -> None:
        known = {(delivery["destination"], delivery["id"]) for delivery in self._e.deliveries}
        for (name, key), arrivals in self._by_delivery().items():
            self._figures["arrivals"] += len(arrivals)
            if name != "slack" and (name, key) not in known:
                self._complain("unknown", f"{name} was told {key}, which scanbell does not know")
            if len({arrival.digest for arrival in arrivals}) > 1:
                self._complain("changed", f"{name} got {key} with different bytes")
            if not all(arrival.signed for arrival in arrivals):
                self._complain("changed", f"{name} got {key} with a wrong signature")
            self._judge_repeats(name, key, sorted(arrivals, key=lambda arrival: arrival.at))
        self._judge_slack()

    def _judge_slack(self) -> None:
        """Slack knows no ids: as many different messages about a scan as there are deliveries."""
        for scan_id, digests in self._slack_texts().items():
            owed = self._slack_owed()[scan_id]
            if len(digests) > owed:
                self._complain("unknown", f"slack got {len(digests)} different messages about {scan_id}, {owed} are owed")
        taken = Counter(arrival.scan for arrival in self._ledger.arrivals
                        if arrival.destination == "slack" and arrival.answer in ("ok", "unsure"))
        told = Counter(row["scan_id"] for row, delivery in self._slack_deliveries() if delivery["state"] == "delivered")
        for scan_id, count in told.items():
            if taken[scan_id] < count:
                self._complain("lost", f"{count} messages about {scan_id} count as told to slack, it has {taken[scan_id]}")

    def _slack_texts(self) -> Dict[str, Set[str]]:
        messages: Dict[str, Set[str]] = defaultdict(set)
        for arrival in self._ledger.arrivals:
            if arrival.destination == "slack":
                messages[arrival.scan or "nothing that we know"].add(arrival.digest)
        return messages

    def _slack_owed(self) -> CounterOf[str]:
        return Counter(row["scan_id"] for row, _ in self._slack_deliveries())

    def _slack_deliveries(self) -> List[Tuple[Dict[str, Any], Dict[str, Any]]]:
        """Each with the scan that it is about."""
        return [(row, delivery) for row in self._e.scans for delivery in self._of_row.get(row["id"], [])
                if delivery["destination"] == "slack"]

    def _same_text(self, name: str, scan_id: str) -> int:
        """How many deliveries of a scan say what another says: where it was forced, and somebody who came later wanted
        no more than the first. Only Slack cannot tell them apart."""
        return max(0, self._slack_owed()[scan_id] - len(self._slack_texts()[scan_id])) if name == "slack" else 0

    def _judge_repeats(self, name: str, key: str, arrivals: List[Arrival]) -> None:
        """Each repetition of what the receiver has is explained by what happened since, or is a delivery of its own."""
        of_their_own = self._same_text(name, arrivals[0].scan or "")
        for earlier, later in zip(arrivals, arrivals[1:]):
            if earlier.answer == "refused":
                continue
            if earlier.answer in ("lost", "unsure"):
                self._figures["duplicates after a lost answer"] += 1
            elif self._killed_between(earlier, later):
                self._figures["duplicates after a kill"] += 1
            elif of_their_own > 0:
                of_their_own -= 1
            else:
                self._complain("doubled", f"{name} got {key} again, {later.at - earlier.at:.2f} s after it had said ok, "
                                          f"and nothing explains that")

    def _killed_between(self, earlier: Arrival, later: Arrival) -> bool:
        until = min(later.at, (earlier.answered_at or earlier.at) + WRITTEN_WITHIN)
        return any(earlier.at <= kill.until and kill.at <= until for kill in self._ledger.kills)

    # The queues, and the end.

    def _judge_letters(self) -> None:
        expected: Dict[str, List[Bad]] = defaultdict(list)
        sent: Counter[str] = Counter()
        for message in self._e.work.messages:
            if message.bad:
                expected[message.marker].extend(message.bad)
                sent[message.marker] += 1
        found: Dict[str, List[Letter]] = defaultdict(list)
        for letter in self._e.letters:
            found[marker_of(letter)].append(letter)
        self._figures["bad"] += len(expected)
        for marker in set(found) - set(expected):
            self._complain("unknown", f"a dead letter that is not bad: {found[marker][0].body[:200]!r} "
                                      f"{found[marker][0].headers.get('x-scanbell-reason')}")
        for marker, bad in expected.items():
            for one in bad:
                self._judge_letter(one, found.get(marker, []), marker)

    def _judge_letter(self, bad: Bad, letters: List[Letter], marker: str) -> None:
        right = [letter for letter in letters if same(letter.body, bad.body)
                 and letter.headers.get("x-scanbell-reason") == bad.reason and letter.headers.get("x-scanbell-error")]
        if len(right) != len(letters):
            seen = [(letter.headers.get("x-scanbell-reason"), letter.body[:80]) for letter in letters]
            self._complain("changed", f"dead letter {marker}: expected {bad.reason}, found {seen}")
        if not right:
            self._complain("lost", f"the bad message {bad.body[:120]!r} is not on the dead-letter queue")
        # Each loss of scanbell or of its connection may have come between putting it away and acknowledging it.
        published = self._ledger.published.get(marker, 0.0)
        losses = sum(at >= published for at in [*(kill.at for kill in self._ledger.kills), *self._ledger.cuts])
        extra = len(right) - 1
        if extra > losses + self._ledger.unconfirmed[marker]:
            self._complain("doubled", f"the bad message {bad.body[:120]!r} is {len(right)} times on the dead-letter "
                                      f"queue after {losses} disruptions")
        self._figures["dead letters again"] += max(0, extra)

    def _judge_end(self) -> None:
        if self._e.left_over:
            self._complain("lost", f"{self._e.left_over} requests are left on the queue")
        if missing := set(EVERYWHERE) - self._e.fresh_arrived:
            self._complain("stuck", f"a fresh request did not get through to {sorted(missing)}")
        for text in self._ledger.unexpected:
            self._complain("crash", text)


VERDICTS = {"clean": "clean", "threat": "threat", "suspicious": "suspicious", "enkrypt clean": "clean",
            "enkrypt threat": "threat"}


def key_of(arrival: Arrival) -> str:
    """What makes two messages the same: the delivery's id, or the bytes where a destination has no ids (Slack)."""
    return arrival.delivery or arrival.digest


def same(found: bytes, expected: bytes) -> bool:
    """To the byte; an entry of an array may be written differently."""
    if found == expected:
        return True
    try:
        return bool(json.loads(found) == json.loads(expected))
    except ValueError:
        return False


def brief(row: Dict[str, Any]) -> str:
    """A row without its report."""
    return json.dumps({name: value for name, value in row.items() if name not in ("report", "labels")})


def messages_of(work: Work) -> Iterable[Message]:
    """All that is published."""
    return [*work.messages, work.fresh]
