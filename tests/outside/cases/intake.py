"""What comes in: every form of a request by AMQP, every refusal, and the same scan asked for twice."""
from __future__ import annotations

import json
import uuid
from typing import Any, Dict, List, Optional, Tuple

from ..broker import Message
from ..harness import case, equal, eventually, holds, short
from ..providers import sieve_is
from ..world import World

REASONS = {"not-json", "missing-scan-id", "invalid-scan-id", "unknown-provider", "unknown-destination", "too-large",
           "invalid-field"}

CLOUD_EVENT: Dict[str, Any] = {"specversion": "1.0", "type": "com.example.scan.submitted", "source": "/outside"}


def heard(world: World, scan_id: str) -> Any:
    """The report of the scan, once the webhook has come."""
    found = eventually(f"a webhook about {scan_id}", lambda: world.hook.of_scan(scan_id))
    return found[0].json()["data"]


@case("AMQP: a bare scan ID is followed and told")
def bare_id(world: World) -> None:
    scan_id = world.sieve.scan()
    world.broker.publish(scan_id)
    report = heard(world, scan_id)
    equal((report["provider"], report["outcome"]), ("sieve", "completed"), "provider and outcome")


@case("AMQP: a JSON string is followed and told")
def json_string(world: World) -> None:
    scan_id = world.sieve.scan()
    world.broker.publish(json.dumps(scan_id), content_type="application/json")
    heard(world, scan_id)


@case("AMQP: objects with scan_id, scanId and job_id, provider and labels, are followed and told")
def objects(world: World) -> None:
    for name in ("scan_id", "scanId"):
        scan_id = world.sieve.scan()
        world.broker.publish(json.dumps({name: scan_id, "labels": {"team": "platform"}, "colour": "ignored"}))
        equal(heard(world, scan_id)["labels"], {"team": "platform"}, "labels")
    job_id = world.enkrypt.job()
    world.broker.publish(json.dumps({"job_id": job_id, "provider": "enkrypt"}))
    equal(heard(world, job_id)["provider"], "enkrypt", "provider")


@case("AMQP: `destinations` replaces the routes")
def named_destinations(world: World) -> None:
    scan_id = world.sieve.scan()
    world.broker.publish(json.dumps({"scan_id": scan_id, "destinations": ["events"]}))
    eventually("the event", lambda: world.events.of_scan(scan_id))
    ours = world.api.items("/v1/scans", scan_id=scan_id)[0]["id"]
    told = {row["destination"] for row in world.api.items("/v1/deliveries", scan=ours)}
    equal(told, {"events"}, "destinations of the deliveries")


@case("AMQP: an array is taken entry by entry; its bad entry goes to the dead-letter queue alone")
def array(world: World) -> None:
    good = [world.sieve.scan() for _ in range(3)]
    bad = '{"scan_id":   7, "note": "kept byte for byte"}'
    body = f'["{good[0]}", {{"scan_id": "{good[1]}"}},\n {bad} , {{"scanId": "{good[2]}"}}]'
    world.broker.publish(body)
    for scan_id in good:
        heard(world, scan_id)
    equal(dead(world, bad.encode()).headers.get("x-scanbell-reason"), "invalid-field", "reason")


@case("AMQP: a structured CloudEvent is read")
def structured_event(world: World) -> None:
    for data in (lambda scan_id: scan_id, lambda scan_id: {"scanId": scan_id}):
        scan_id = world.sieve.scan()
        event = {**CLOUD_EVENT, "id": str(uuid.uuid4()), "datacontenttype": "application/json", "data": data(scan_id)}
        world.broker.publish(json.dumps(event), content_type="application/cloudevents+json; charset=utf-8")
        heard(world, scan_id)


@case("AMQP: a binary CloudEvent is read, whichever prefix its headers have")
def binary_event(world: World) -> None:
    for prefix in ("cloudEvents_", "cloudEvents:", "ce-"):
        scan_id = world.sieve.scan()
        headers = {f"{prefix}{name}": text for name, text in {**CLOUD_EVENT, "id": str(uuid.uuid4())}.items()}
        world.broker.publish(json.dumps({"scan_id": scan_id}), headers=headers, content_type="application/json")
        heard(world, scan_id)


def dead(world: World, body: bytes) -> Message:
    """The dead letter with exactly these bytes."""

    def find() -> Optional[Message]:
        same = [letter for letter in world.broker.dead_letters() if letter.body == body]
        return same[0] if same else None

    return eventually(f"a dead letter {short(body, 80)}", find)


def bad_bodies() -> List[Tuple[bytes, str]]:
    """Messages that cannot be accepted, with the reason that has to be given."""
    some = str(uuid.uuid4())
    return [
        (b"", "missing-scan-id"),
        (b"{}", "missing-scan-id"),
        (b'{"scan_id": ""}', "missing-scan-id"),
        (b'""', "missing-scan-id"),
        (b'{"scan_id": "' + some.encode(), "not-json"),
        (b'"' + some.encode(), "not-json"),
        (b'{"scan_id": 12}', "invalid-field"),
        (b'{"scan_id": "%s", "labels": {"team": 7}}' % some.encode(), "invalid-field"),
        (b'{"scan_id": "%s", "force": "yes"}' % some.encode(), "invalid-field"),
        (b'{"scan_id": "%s", "deadline": "soon"}' % some.encode(), "invalid-field"),
        (b'{"scan_id": "%s", "provider": "nobody"}' % some.encode(), "unknown-provider"),
        (b'{"scan_id": "%s", "destinations": ["nobody"]}' % some.encode(), "unknown-destination"),
        (b"../../etc/passwd", "invalid-scan-id"),
        (b"%2e%2e%2fadmin", "invalid-scan-id"),
        (b"an id with spaces", "invalid-scan-id"),
        (b"abc?x=1#y", "invalid-scan-id"),
        (some.encode() + b"\r\nX-Injected: 1", "invalid-scan-id"),
        (b"a" * 10_240, "invalid-scan-id"),
        (b"x" * (5 * 1024 * 1024), "too-large"),
        (b'{"scan_id": "' + b"y" * (5 * 1024 * 1024) + b'"}', "too-large"),
        (b"[" + b",".join([b'"z"'] * 10_001) + b"]", "too-large"),
        (b"[" * 10_000 + b"]" * 10_000, "not-json"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not-json"),
    ]


@case("AMQP: what cannot be accepted is kept byte for byte in the dead-letter queue and explained")
def refused(world: World) -> None:
    good = world.sieve.scan()
    bodies = bad_bodies()
    for body, _ in bodies:
        world.broker.publish(body, headers={"x-origin": "outside"}, correlation_id="corr-7", type="scan")
    world.broker.publish(good)
    heard(world, good)
    wanted = {body for body, _ in bodies}
    letters = eventually("all bad ones in the dead-letter queue", lambda: letters_of(world, wanted))
    for body, reason in bodies:
        letter = letters[body]
        equal(letter.headers.get("x-scanbell-reason"), reason, f"reason for {short(body, 60)}")
        check_letter(letter)


def letters_of(world: World, wanted: Any) -> Optional[Dict[bytes, Message]]:
    """The dead letters by body, once all that are wanted are there."""
    letters = {letter.body: letter for letter in world.broker.dead_letters()}
    return letters if wanted <= set(letters) else None


def check_letter(letter: Message) -> None:
    """What every dead letter has."""
    error = letter.headers.get("x-scanbell-error")
    holds(isinstance(error, str) and 5 < len(error) < 1000, f"x-scanbell-error is no sentence: {short(error)}")
    equal(letter.headers.get("x-origin"), "outside", "the message's own header")
    equal(letter.properties.correlation_id, "corr-7", "correlation_id")
    equal(letter.properties.type, "scan", "type")
    equal(letter.properties.delivery_mode, 2, "delivery mode")


@case("AMQP: bytes that are not UTF-8 are refused with a reason of the closed set")
def not_utf8(world: World) -> None:
    body = b"\xff\xfe\x00scan"
    world.broker.publish(body)
    reason = dead(world, body).headers.get("x-scanbell-reason")
    holds(reason in REASONS, f"reason {reason!r}")


@case("AMQP: stray bytes in properties and headers, and tables without end, neither stop the daemon nor the good ones")
def hostile_properties(world: World) -> None:
    deep: Any = None
    for _ in range(400):
        deep = {"k": deep}
    envelopes: Dict[bytes, Dict[str, Any]] = {
        b"stray bytes in the content type": {"content_type": b"text/\xff\xfe"},
        b"stray bytes in the message id": {"message_id": b"\xc3"},
        b"stray bytes in a header's name": {"headers": {b"\xff": 1}},
        b"tables in tables": {"headers": {"deep": deep, "x-origin": "outside"}},
    }
    good = world.sieve.scan()
    for body, properties in envelopes.items():
        world.broker.publish(body, **properties)
    world.broker.publish(good)
    heard(world, good)
    letters = {body: dead(world, body) for body in envelopes}
    equal(letters[b"stray bytes in the content type"].properties.content_type, "text/??", "content type")
    equal(letters[b"tables in tables"].headers.get("x-origin"), "outside", "the message's own header")


@case("AMQP: refused IDs never reach a provider")
def no_traversal(world: World) -> None:
    for api in (world.sieve, world.enkrypt):
        odd = [request.path for request in api.received() if ".." in request.path or "%" in request.path]
        equal(odd, [], "paths that were asked for")


@case("a redelivered message is recognised, even when it forces")
def redelivered(world: World) -> None:
    scan_id, key = world.sieve.scan(), str(uuid.uuid4())
    body = json.dumps({"scan_id": scan_id, "force": True})
    world.broker.publish(body, message_id=key)
    heard(world, scan_id)
    before = world.api.metric("scanbell_requests_total", source="amqp", result="duplicate")
    world.broker.publish(body, body, message_id=key)
    eventually(
        "both counted as duplicates",
        lambda: world.api.metric("scanbell_requests_total", source="amqp", result="duplicate") >= before + 2,
    )
    equal(len(world.api.items("/v1/scans", scan_id=scan_id)), 1, "scans with this ID")


@case("the same scan asked for again joins, is a duplicate once finished, and is told again with force")
def asked_twice(world: World) -> None:
    scan_id = world.sieve.follow([sieve_is("processing")])
    equal(post_states(world, {"scan_id": scan_id}), ["following"], "first")
    equal(post_states(world, {"scan_id": scan_id}, scan_id), ["joined", "joined"], "while followed")
    world.sieve.follow([sieve_is("completed")], scan_id)
    heard(world, scan_id)
    equal(post_states(world, scan_id), ["duplicate"], "inside the dedupe window")
    equal(post_states(world, {"scan_id": scan_id, "force": True}), ["following"], "with force")
    eventually("a second webhook", lambda: len(world.hook.of_scan(scan_id)) == 2)
    ids = {request.headers["webhook-id"] for request in world.hook.of_scan(scan_id)}
    equal(len(ids), 2, "different webhook-ids")


def post_states(world: World, *entries: Any) -> List[str]:
    """What became of each entry, posted as one array (or by itself)."""
    value = list(entries) if len(entries) > 1 else entries[0]
    answer = world.api.post("/v1/requests", value).must(202).json()
    equal(answer["refused"], [], "refused")
    return [entry["state"] for entry in answer["accepted"]]


@case("the queue is empty when everything is accepted or refused")
def drained(world: World) -> None:
    eventually("an empty queue", lambda: world.broker.depth() == 0)
