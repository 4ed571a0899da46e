"""What goes out: Slack, mail, webhooks; retries, dead deliveries, hostile names."""
from __future__ import annotations

import json
import re
import uuid
from typing import Any, Dict, Iterator, List

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ..harness import case, equal, eventually, holds, short
from ..mailbox import Mail
from ..providers import THREAT, always, enkrypt_is, sieve_is
from ..receivers import Answer, Received, json_answer
from ..world import SECRETS, SIGNING_SECRETS, World

REPORT_FIELDS = {"id", "provider", "scan_id", "outcome", "status", "verdict", "severity", "score", "confidence",
                 "subject", "counts", "classes", "findings", "error", "link", "labels", "requested_at", "finished_at",
                 "polls", "raw"}

HOSTILE = ('<!channel> <http://evil.example|click> *bold* {{report.id}} "}] </td><script>alert(1)</script>'
           "\r\nBcc: evil@example.com\x00\u202egpj.exe & <@U123> " + "A" * 100_000)


def webhook(world: World, scan_id: str) -> Received:
    """The first webhook about the scan."""
    return eventually(f"a webhook about {scan_id}", lambda: world.hook.of_scan(scan_id))[0]


def threat(world: World, **fields: Any) -> str:
    """A scan that finds a threat, asked for."""
    scan_id = world.sieve.scan(**{**THREAT, **fields})
    world.broker.publish(json.dumps({"scan_id": scan_id, "labels": {"team": "platform"}}))
    return scan_id


@case("webhook: the official Standard Webhooks library verifies it with each of two secrets")
def verified(world: World) -> None:
    request = webhook(world, threat(world))
    equal(request.method, "POST", "method")
    holds(request.headers["content-type"].startswith("application/json"), "content type")
    equal(request.headers.get("x-team"), SECRETS["header value"], "configured header")
    for secret in SIGNING_SECRETS:
        equal(Webhook(secret).verify(request.body, dict(request.headers)), request.json(), "verified body")
    equal(len(request.headers["webhook-signature"].split()), 2, "signatures")
    try:
        Webhook(SIGNING_SECRETS[0]).verify(request.body + b" ", dict(request.headers))
    except WebhookVerificationError:
        return
    raise AssertionError("a changed body was verified: this check proves nothing")


@case("webhook: the body is the contract's, with every field of a Sieve scan in its place")
def sieve_report(world: World) -> None:
    scan_id = threat(world)
    body = webhook(world, scan_id).json()
    equal(set(body), {"type", "timestamp", "data"}, "top-level fields")
    equal(body["type"], "scan.completed", "type")
    report = body["data"]
    holds(REPORT_FIELDS <= set(report), f"missing: {REPORT_FIELDS - set(report)}")
    expected = {"provider": "sieve", "scan_id": scan_id, "outcome": "completed", "status": "completed",
                "verdict": "threat", "severity": "high", "score": 0.93, "confidence": 0.95,
                "classes": ["document", "LLM01", "ASI02"], "error": None, "labels": {"team": "platform"}}
    equal({name: report[name] for name in expected}, expected, "report")
    equal(report["counts"], {"issues": 5, "sensitive_data": 1}, "counts")
    equal(report["subject"], {"name": "suspicious.pdf", "kind": "file", "size": 123456,
                              "sha256": "9f86d081884c7d659a2feaa0c55ad015" * 2, "media_type": "application/pdf"},
          "subject")
    equal(report["raw"]["owaspAgenticThreats"], ["ASI02"], "raw")
    check_times(body)


RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def check_times(body: Dict[str, Any]) -> None:
    """RFC 3339 in UTC, in order."""
    report = body["data"]
    for text in (body["timestamp"], report["requested_at"], report["finished_at"]):
        holds(RFC3339.fullmatch(text), f"not RFC 3339 in UTC: {text!r}")
    holds(report["requested_at"][:19] <= report["finished_at"][:19], "requested_at is after finished_at")
    uuid.UUID(report["id"])
    holds(report["polls"] >= 1, "polls")


@case("webhook: a completed scan without any verdict is unknown, not clean")
def all_null(world: World) -> None:
    fields = ("isThreat", "severity", "riskCategory", "threatScore", "confidence", "securityIssuesCount",
              "sensitiveDataCount", "results")
    scan_id = world.sieve.scan(**dict.fromkeys(fields))
    world.broker.publish(scan_id)
    report = webhook(world, scan_id).json()["data"]
    expected = {"verdict": "unknown", "severity": "unknown", "score": None, "confidence": None}
    equal({name: report[name] for name in expected}, expected, "report")


@case("webhook: Enkrypt's results are read, whatever an unfinished job answers")
def enkrypt_reports(world: World) -> None:
    unfinished = [
        [enkrypt_is("initializing"), enkrypt_is("scanning_tools")],
        [always(Answer(202))],
        [always(json_answer({"error": "not found"}, 404))],
        [always(json_answer({"error": "not ready"}, 409))],
    ]
    jobs = [world.enkrypt.job(*steps) for steps in unfinished]
    world.broker.publish(json.dumps([{"job_id": job, "provider": "enkrypt"} for job in jobs]))
    for job in jobs:
        report = webhook(world, job).json()["data"]
        found = (report["verdict"], report["severity"], report["counts"], report["subject"]["kind"])
        equal(found, ("threat", "high", {"issues": 5}, "repository"), "verdict, severity, counts, kind")
        equal(report["subject"]["name"], "user/mcp-server", "subject")


@case("webhook: Enkrypt without vulnerabilities is clean; lower than high is suspicious; a hosted one is an endpoint")
def enkrypt_verdicts(world: World) -> None:
    clean = world.enkrypt.job(severity="None", total=0)
    medium = world.enkrypt.job(severity="MEDIUM", total=2, scan_type="hosted", repo_name=None,
                               endpoint_url="https://mcp.example.com/sse")
    world.broker.publish(json.dumps([{"job_id": job, "provider": "enkrypt"} for job in (clean, medium)]))
    equal(webhook(world, clean).json()["data"]["verdict"], "clean", "verdict of none")
    report = webhook(world, medium).json()["data"]
    equal((report["verdict"], report["severity"]), ("suspicious", "medium"), "verdict and severity of medium")
    equal((report["subject"]["kind"], report["subject"]["name"]), ("endpoint", "https://mcp.example.com/sse"), "subject")


@case("webhook: every other end has its type: failed, unsupported, not_found, timed_out")
def other_ends(world: World) -> None:
    ends = {
        world.sieve.follow([sieve_is("failed", error="archive is damaged")]): "failed",
        world.sieve.follow([sieve_is("error", error="engine crashed")]): "failed",
        world.sieve.follow([sieve_is("unsupported")]): "unsupported",
        str(uuid.uuid4()): "not_found",
    }
    world.broker.publish(*ends)
    slow = world.sieve.follow([sieve_is("a status nobody knows")])
    world.broker.publish(json.dumps({"scan_id": slow, "deadline": "1s"}))
    for scan_id, outcome in {**ends, slow: "timed_out"}.items():
        body = webhook(world, scan_id).json()
        equal((body["type"], body["data"]["outcome"]), (f"scan.{outcome}", outcome), "type and outcome")
        equal(body["data"]["verdict"], "unknown", f"verdict of {outcome}")
    equal(webhook(world, next(iter(ends))).json()["data"]["error"], "archive is damaged", "error")


@case("webhook: a CloudEvent is structured JSON and carries the Standard Webhooks headers too")
def cloud_event(world: World) -> None:
    scan_id = threat(world)
    request = eventually("the event", lambda: world.events.of_scan(scan_id))[0]
    event = request.json()
    holds(request.headers["content-type"].startswith("application/cloudevents+json"), "content type")
    expected = {"specversion": "1.0", "type": "dev.scanbell.scan.completed", "subject": scan_id,
                "source": "/scanbell/sieve"}
    equal({name: event.get(name) for name in expected}, expected, "attributes")
    holds(event.get("id"), "an id")
    equal(event["data"]["verdict"], "threat", "data")
    Webhook(SIGNING_SECRETS[0]).verify(request.body, dict(request.headers))


def texts(value: Any) -> Iterator[Dict[str, Any]]:
    """Every text object of a Block Kit message."""
    if isinstance(value, dict):
        if value.get("type") in ("mrkdwn", "plain_text"):
            yield value
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def check_slack(message: Dict[str, Any]) -> None:
    """Inside Slack's limits, and nothing of a stranger's can ping or link."""
    holds(isinstance(message.get("text"), str) and message["text"], "a plain `text`")
    blocks: List[Dict[str, Any]] = message["blocks"]
    holds(0 < len(blocks) <= 50, f"{len(blocks)} blocks")
    for block in blocks:
        holds(len(block.get("fields", [])) <= 10, "at most 10 fields")
        holds(all(len(text["text"]) <= 2000 for text in block.get("fields", [])), "fields of at most 2,000 characters")
        if block["type"] == "header":
            holds(len(block["text"]["text"]) <= 150, "a header of at most 150 characters")
    for text in texts(blocks):
        holds(0 < len(text["text"]) <= 3000, f"a text of {len(text['text'])} characters")
    for text in [message["text"]] + [text["text"] for text in texts(blocks) if text["type"] == "mrkdwn"]:
        for token in ("<!", "<@", "<#", "<http://evil"):
            holds(token not in text, f"{token} in {short(text)}")


@case("Slack: incoming webhook and chat.postMessage get Block Kit inside Slack's limits")
def slack(world: World) -> None:
    name = f"invoice-{uuid.uuid4().hex}.pdf"
    threat(world, fileName=name)
    found = eventually("both messages", lambda: two(world.slack.mentioning(name)))
    for request in found:
        check_slack(request.json())
    by_path = {request.path: request for request in found}
    bot = by_path["/api/chat.postMessage"]
    equal(bot.headers.get("authorization"), f"Bearer {SECRETS['bot token']}", "authorization")
    equal(bot.json()["channel"], "C0SECOPS", "channel")
    holds(f"/services/{SECRETS['slack path']}" in by_path, f"paths {sorted(by_path)}")


def two(found: List[Received]) -> List[Received]:
    """All of them once there are two."""
    return found if len(found) >= 2 else []


def mail_about(world: World, text: str) -> Mail:
    """The mail whose text names it."""
    return eventually("the mail", lambda: world.mailbox.mentioning(text))[0]


@case("mail: multipart text and HTML over TLS, with Message-ID and Auto-Submitted; a refused recipient harms nobody")
def mail(world: World) -> None:
    name = f"invoice-{uuid.uuid4().hex}.pdf"
    scan_id = threat(world, fileName=name)
    found = mail_about(world, name)
    message = found.parsed()
    equal(message.get_content_type(), "multipart/alternative", "content type")
    equal([part.get_content_type() for part in message.iter_parts()], ["text/plain", "text/html"], "parts")
    equal(message["Auto-Submitted"], "auto-generated", "Auto-Submitted")
    holds(found.encrypted, "sent without TLS")
    equal(found.recipients, [SECRETS["person"]], "recipients")
    equal(message["From"].addresses[0].addr_spec, "scanbell@example.com", "From")
    check_headers(found)
    delivery = eventually("the delivery", lambda: delivered(world, scan_id, "mail"))
    message_id = str(message["Message-ID"]).replace("-", "")
    holds(delivery["id"].replace("-", "") in message_id, f"Message-ID {message_id} of delivery {delivery['id']}")


def delivered(world: World, scan_id: str, destination: str) -> Any:
    """The delivery of the scan's notification, once it is delivered."""
    ours = world.api.items("/v1/scans", scan_id=scan_id)[0]["id"]
    rows = world.api.items("/v1/deliveries", scan=ours, destination=destination, state="delivered")
    return rows[0] if rows else None


def check_headers(found: Mail) -> None:
    """One of each, on short lines."""
    message = found.parsed()
    for name in ("Subject", "From", "To", "Date", "Message-ID", "MIME-Version"):
        equal(len(message.get_all(name, [])), 1, f"headers {name}")
    subject = str(message["Subject"])
    holds(subject and "\n" not in subject and "\r" not in subject, f"subject {short(subject)}")
    holds(all(len(line) <= 998 for line in found.raw.split(b"\r\n")), "lines of at most 998 bytes")


@case("a hostile file name of 100 kB becomes no mention, no header, no markup and no broken JSON anywhere")
def hostile(world: World) -> None:
    mark = uuid.uuid4().hex
    scan_id = threat(world, fileName=f"{mark} {HOSTILE}")
    report = webhook(world, scan_id).json()["data"]
    holds(mark in report["subject"]["name"], "the name in the report")
    for request in eventually("both Slack messages", lambda: two(world.slack.mentioning(mark))):
        check_slack(request.json())
    found = mail_about(world, mark)
    check_headers(found)
    holds(found.parsed()["Bcc"] is None, "a header was injected")
    html = found.part("text/html")
    holds("<script>" not in html and "</td><script" not in html, "markup in the HTML mail")
    holds(len(found.raw) < 200_000, f"a mail of {len(found.raw)} bytes")
    eventually("the event", lambda: world.events.of_scan(scan_id))


@case("retry: 503 and 429 with Retry-After are tried again with the same bytes under the same webhook-id")
def retried(world: World) -> None:
    scan_id = world.sieve.scan()
    world.events.plan(Answer(503, b"busy"), Answer(429, b"slow down", {"Retry-After": "1"}))
    world.broker.publish(json.dumps({"scan_id": scan_id, "destinations": ["events"]}))
    tries = eventually("three attempts", lambda: at_least(3, world.events.of_scan(scan_id)))
    equal(len({request.headers["webhook-id"] for request in tries}), 1, "different webhook-ids")
    equal(len({request.body for request in tries}), 1, "different bodies")
    holds(tries[2].at - tries[1].at >= 0.95, f"Retry-After of 1 s, tried again after {tries[2].at - tries[1].at:.2f} s")
    delivery = eventually("the delivery", lambda: delivered(world, scan_id, "events"))
    attempts = world.api.get(f"/v1/deliveries/{delivery['id']}").must(200).json()["attempts"]
    equal([attempt["number"] for attempt in attempts], [1, 2, 3], "numbers of the attempts")
    holds(all(name in attempts[0] for name in ("number", "at", "verdict", "reason", "answer")), f"{attempts[0]}")


def at_least(count: int, found: List[Received]) -> List[Received]:
    """All of them once there are so many."""
    return found if len(found) >= count else []


@case("dead: 410 is final at once; a replay sends the same bytes under the same webhook-id")
def dead_and_replayed(world: World) -> None:
    scan_id = world.sieve.scan()
    world.broker.publish(json.dumps({"scan_id": scan_id, "destinations": ["gone"]}))
    first = eventually("the refused attempt", lambda: world.gone.of_scan(scan_id))
    row = eventually("a dead delivery", lambda: dead_row(world, scan_id))
    detail = world.api.get(f"/v1/deliveries/{row['id']}").must(200).json()
    equal((detail["state"], len(detail["attempts"])), ("dead", 1), "state and attempts")
    holds("410" in json.dumps(detail["attempts"][0]) or "gone for good" in json.dumps(detail["attempts"][0]),
          f"the answer is kept: {detail['attempts'][0]}")
    world.gone.plan(Answer(200, b"ok"))
    holds(world.api.post(f"/v1/deliveries/{row['id']}/replay").status in (200, 202), "the replay was not taken")
    again = eventually("the replay", lambda: at_least(2, world.gone.of_scan(scan_id)))
    equal(again[1].headers["webhook-id"], first[0].headers["webhook-id"], "webhook-id")
    equal(again[1].body, first[0].body, "body")
    Webhook(SIGNING_SECRETS[0]).verify(again[1].body, dict(again[1].headers))
    eventually("it is delivered", lambda: delivered(world, scan_id, "gone"))


def dead_row(world: World, scan_id: str) -> Any:
    """The dead delivery of the scan, if there is one."""
    rows = world.api.items("/v1/scans", scan_id=scan_id)
    found = world.api.items("/v1/deliveries", scan=rows[0]["id"], state="dead", destination="gone") if rows else []
    return found[0] if found else None


@case("dead: all dead deliveries of a destination are replayed at once")
def bulk_replay(world: World) -> None:
    scans = [world.sieve.scan() for _ in range(3)]
    world.broker.publish(json.dumps([{"scan_id": scan_id, "destinations": ["gone"]} for scan_id in scans]))
    for scan_id in scans:
        eventually("a dead delivery", lambda scan_id=scan_id: dead_row(world, scan_id))
    world.gone.usual = Answer(200, b"ok")
    try:
        holds(world.api.post("/v1/deliveries/replay", {"destination": "gone"}).status in (200, 202), "not taken")
        for scan_id in scans:
            eventually("it is delivered", lambda scan_id=scan_id: delivered(world, scan_id, "gone"))
    finally:
        world.gone.usual = Answer(410, b"gone for good")
