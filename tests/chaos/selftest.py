"""Shows that the judge can fail: from a run in which all is well, each kind of wrong is made and must be seen."""
from __future__ import annotations

import hashlib
import uuid
from typing import Any, Callable, Dict, List

from pika import BasicProperties

from outside.broker import Message as Letter
from outside.harness import Case, run_one, summarise, tell

from .judge import VERDICTS, Evidence, judge
from .ledger import Arrival, Kill, Ledger
from .schedule import Schedule, Window
from .work import EVERYWHERE, Ask, Message, Oracle, Scan, Work

SEED, REQUESTS = 7, 120


def well() -> Evidence:
    """A run as it should be: each scan once, each delivery once, each bad message put away."""
    work = Oracle(SEED, REQUESTS).make()
    schedule = Schedule(2.0, 4.0, [], [Window("frail", "500", 0.0, 3.0)], False)
    ledger = Ledger(began=100.0)
    evidence = Evidence(work, schedule, ledger, [], [], [])
    for message in [*work.messages, work.fresh]:
        ledger.published.setdefault(message.marker, 100.0)
        for bad in message.bad:
            headers = {"x-oracle": message.marker, "x-scanbell-reason": bad.reason, "x-scanbell-error": "because"}
            evidence.letters.append(Letter(bad.body, headers, BasicProperties()))
    for scan_id, due in owed(work).items():
        add_scan(evidence, work.scans[scan_id], due)
    return evidence


def owed(work: Work) -> Dict[str, List[str]]:
    """Everybody's wish for each scan."""
    found: Dict[str, set[str]] = {}
    for message in [*work.messages, work.fresh]:
        for scan_id, ask in message.asks:
            found.setdefault(scan_id, set()).update(ask.due(work.scans[scan_id]))
    return {scan_id: sorted(names) for scan_id, names in found.items()}


def add_scan(evidence: Evidence, scan: Scan, due: List[str]) -> None:
    """A finished scan with its deliveries and what arrived."""
    row_id = str(uuid.uuid4())
    report = {"verdict": VERDICTS.get(scan.end, "unknown")}
    evidence.scans.append({"id": row_id, "scan_id": scan.id, "state": "finished", "outcome": scan.outcome,
                           "report": report})
    evidence.ledger.polls[scan.id] = [100.0, 104.0]
    evidence.ledger.told[scan.id] = 101.0
    for name in due:
        add_delivery(evidence, scan, row_id, name)


def add_delivery(evidence: Evidence, scan: Scan, row_id: str, name: str) -> None:
    """One delivery; dead where its receiver rejects it."""
    rejected = scan.rejected_by == name
    delivery = {"id": str(uuid.uuid4()), "scan": row_id, "destination": name,
                "state": "dead" if rejected else "delivered", "reason": "rejected" if rejected else None}
    evidence.deliveries.append(delivery)
    body = f"{name} {scan.id}".encode()
    arrival = Arrival(name, None if name == "slack" else str(delivery["id"]), scan.id,
                      hashlib.sha256(body).hexdigest(), 102.0)
    arrival.answer, arrival.answered_at = ("refused" if rejected else "ok"), 102.1
    evidence.ledger.arrivals.append(arrival)


def good(evidence: Evidence, name: str = "hook") -> Arrival:
    """An arrival that was taken."""
    return next(one for one in evidence.ledger.arrivals if one.destination == name and one.answer == "ok")


def again(evidence: Evidence, name: str = "hook", later: float = 1.0) -> Arrival:
    """The same message once more."""
    first = good(evidence, name)
    second = Arrival(**{**first.__dict__, "at": first.at + later, "answered_at": first.at + later})
    evidence.ledger.arrivals.append(second)
    return second


def row_of(evidence: Evidence, end: str) -> Dict[str, Any]:
    """The row of a scan that ends so."""
    return next(row for row in evidence.scans if evidence.work.scans[row["scan_id"]].end == end)


def delivery_of(evidence: Evidence, name: str) -> Dict[str, Any]:
    """A delivery that counts as delivered."""
    return next(one for one in evidence.deliveries if one["destination"] == name and one["state"] == "delivered")


# Each of these makes one thing wrong.

def a_delivery_that_never_arrived(e: Evidence) -> None:
    e.ledger.arrivals.remove(good(e))


def a_mail_that_never_arrived(e: Evidence) -> None:
    e.ledger.arrivals.remove(good(e, "mail"))


def a_slack_message_that_never_arrived(e: Evidence) -> None:
    e.ledger.arrivals.remove(good(e, "slack"))


def a_delivery_that_arrived_and_was_refused(e: Evidence) -> None:
    good(e).answer = "refused"


def a_destination_that_nobody_told(e: Evidence) -> None:
    delivery = delivery_of(e, "mail")
    e.deliveries.remove(delivery)
    e.ledger.arrivals = [one for one in e.ledger.arrivals if one.delivery != delivery["id"]]


def a_delivery_that_still_waits(e: Evidence) -> None:
    delivery_of(e, "hook")["state"] = "pending"


def a_delivery_that_died_without_cause(e: Evidence) -> None:
    delivery_of(e, "hook").update(state="dead", reason="gave_up")


def a_delivery_that_was_given_up_too_early(e: Evidence) -> None:
    delivery = delivery_of(e, "frail")
    delivery.update(state="dead", reason="gave_up")
    scan = next(row["scan_id"] for row in e.scans if row["id"] == delivery["scan"])
    e.ledger.told[scan] = 102.8  # the last fault ends at 103


def a_repetition_that_nothing_explains(e: Evidence) -> None:
    again(e)


def a_slack_repetition_that_nothing_explains(e: Evidence) -> None:
    again(e, "slack")


def a_repetition_long_before_a_kill(e: Evidence) -> None:
    again(e, later=20.0)
    e.ledger.kills.append(Kill(115.0, 115.2))


def a_repetition_with_other_bytes(e: Evidence) -> None:
    again(e).digest = "other"
    e.ledger.kills.append(Kill(102.2, 102.4))


def a_third_message_about_two_scans_that_say_the_same(e: Evidence) -> None:
    a_forced_scan_that_says_the_same_to_slack(e)
    again(e, "slack")


def a_second_message_that_slack_never_got(e: Evidence) -> None:
    a_forced_scan_that_says_the_same_to_slack(e)
    e.ledger.arrivals.remove(good(e, "slack"))


def a_foreign_message(e: Evidence) -> None:
    e.ledger.arrivals.append(Arrival("hook", str(uuid.uuid4()), None, "x", 102.0, "ok", 102.0))


def a_foreign_slack_message(e: Evidence) -> None:
    e.ledger.arrivals.append(Arrival("slack", None, None, "x", 102.0, "ok", 102.0))


def a_wrong_signature(e: Evidence) -> None:
    good(e).signed = False


def a_request_that_was_forgotten(e: Evidence) -> None:
    e.scans.remove(row_of(e, "clean"))


def a_scan_that_never_finished(e: Evidence) -> None:
    row_of(e, "clean").update(state="following", outcome=None)


def a_scan_with_the_wrong_outcome(e: Evidence) -> None:
    row_of(e, "failed")["outcome"] = "timed_out"


def a_scan_with_the_wrong_verdict(e: Evidence) -> None:
    row_of(e, "threat")["report"] = {"verdict": "clean"}


def a_scan_that_timed_out_early(e: Evidence) -> None:
    e.ledger.polls[row_of(e, "timed_out")["scan_id"]] = [100.0, 101.0]


def a_scan_that_is_followed_twice(e: Evidence) -> None:
    scan = e.work.scans[row_of(e, "enkrypt clean")["scan_id"]]
    add_scan(e, scan, [])


def a_scan_that_nobody_asked_for(e: Evidence) -> None:
    add_scan(e, Scan(str(uuid.uuid4()), "clean", 0, (), None), [])


def two_deliveries_to_one_destination(e: Evidence) -> None:
    delivery = delivery_of(e, "hook")
    scan = next(row["scan_id"] for row in e.scans if row["id"] == delivery["scan"])
    add_delivery(e, e.work.scans[scan], delivery["scan"], "hook")


def a_destination_that_nobody_asked_to_tell(e: Evidence) -> None:
    row = row_of(e, "enkrypt clean")
    add_delivery(e, e.work.scans[row["scan_id"]], row["id"], "slack")


def a_bad_message_that_is_gone(e: Evidence) -> None:
    e.letters.pop()


def a_bad_message_that_is_there_twice(e: Evidence) -> None:
    e.letters.append(e.letters[0])


def a_bad_message_with_the_wrong_reason(e: Evidence) -> None:
    e.letters[0].headers["x-scanbell-reason"] = "something"


def a_bad_message_that_was_changed(e: Evidence) -> None:
    e.letters[0] = Letter(b"changed", e.letters[0].headers, e.letters[0].properties)


def a_good_message_on_the_dead_letter_queue(e: Evidence) -> None:
    marker = next(message.marker for message in e.work.messages if not message.bad)
    e.letters.append(Letter(b"good", {"x-oracle": marker}, BasicProperties()))


def a_request_that_is_left_on_the_queue(e: Evidence) -> None:
    e.left_over = 1


def a_fresh_request_that_does_not_get_through(e: Evidence) -> None:
    e.fresh_arrived = frozenset(EVERYWHERE) - {"mail"}


def a_crash(e: Evidence) -> None:
    e.ledger.unexpected.append("scanbell ended by itself")


WRONGS: List[Callable[[Evidence], None]] = [
    a_delivery_that_never_arrived, a_mail_that_never_arrived, a_slack_message_that_never_arrived,
    a_delivery_that_arrived_and_was_refused, a_destination_that_nobody_told, a_delivery_that_still_waits,
    a_delivery_that_died_without_cause, a_delivery_that_was_given_up_too_early, a_repetition_that_nothing_explains,
    a_slack_repetition_that_nothing_explains, a_repetition_long_before_a_kill, a_repetition_with_other_bytes,
    a_third_message_about_two_scans_that_say_the_same, a_second_message_that_slack_never_got,
    a_foreign_message, a_foreign_slack_message, a_wrong_signature, a_request_that_was_forgotten,
    a_scan_that_never_finished, a_scan_with_the_wrong_outcome, a_scan_with_the_wrong_verdict,
    a_scan_that_timed_out_early, a_scan_that_is_followed_twice, a_scan_that_nobody_asked_for,
    two_deliveries_to_one_destination, a_destination_that_nobody_asked_to_tell, a_bad_message_that_is_gone,
    a_bad_message_that_is_there_twice, a_bad_message_with_the_wrong_reason, a_bad_message_that_was_changed,
    a_good_message_on_the_dead_letter_queue, a_request_that_is_left_on_the_queue,
    a_fresh_request_that_does_not_get_through, a_crash,
]


# And these are not wrong.

def a_repetition_after_a_kill(e: Evidence) -> None:
    again(e)
    e.ledger.kills.append(Kill(102.2, 102.4))


def a_last_word_of_a_killed_process(e: Evidence) -> None:
    again(e)
    e.ledger.kills.append(Kill(101.9, 102.4))


def a_repetition_after_a_lost_answer(e: Evidence) -> None:
    again(e)
    good(e).answer = "lost"


def a_forced_scan_that_says_the_same_to_slack(e: Evidence) -> None:
    """Forced for another destination; then a plain request joined, which owes Slack the same words once more."""
    scan = next(e.work.scans[row["scan_id"]] for row in e.scans if row["id"] == delivery_of(e, "slack")["scan"])
    e.work.messages.append(Message("forced", b"", ((scan.id, Ask(("hook",), (), True)),)))
    add_scan(e, scan, ["hook", "slack"])


def a_delivery_that_was_given_up_in_time(e: Evidence) -> None:
    delivery_of(e, "frail").update(state="dead", reason="gave_up")


def a_bad_message_put_away_again_after_a_kill(e: Evidence) -> None:
    a_bad_message_that_is_there_twice(e)
    e.ledger.kills.append(Kill(101.0, 101.2))


RIGHTS: List[Callable[[Evidence], None]] = [
    lambda _: None, a_repetition_after_a_kill, a_last_word_of_a_killed_process, a_repetition_after_a_lost_answer,
    a_forced_scan_that_says_the_same_to_slack, a_delivery_that_was_given_up_in_time, a_bad_message_put_away_again_after_a_kill,
]


def check(change: Callable[[Evidence], None], wrong: bool) -> None:
    """The judge complains if and only if something is wrong."""
    evidence = well()
    change(evidence)
    complaints = judge(evidence).complaints
    if bool(complaints) != wrong:
        raise AssertionError(f"expected {'a complaint' if wrong else 'none'}, found {complaints[:3]}")


def main() -> int:
    """Runs it; the exit code."""
    results = []
    for changes, wrong in ((RIGHTS, False), (WRONGS, True)):
        for change in changes:
            name = change.__name__.replace("_", " ").replace("<lambda>", "a run in which all is well")
            word = "is seen" if wrong else "is no fault"
            results.append(run_one(Case(f"self-test of the judge: {name} {word}", lambda _, c=change, w=wrong: check(c, w)),
                                   None))
    for result in results:
        if result.error:
            tell(result)
    return summarise(results, 0)
