"""Checks this suite's own servers and checks against independent clients: a judge that cannot fail proves nothing."""
from __future__ import annotations

import json
import os
import shutil
import smtplib
import ssl
import tempfile
import urllib.request
import uuid
from datetime import datetime, timezone
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Callable, List, Optional

from standardwebhooks.webhooks import Webhook

from .broker import Broker
from .cases.telling import HOSTILE, check_headers, check_slack
from .daemon import Api
from .harness import CASES, Case, equal, eventually, holds, run_one, summarise, tell
from .mailbox import Mailbox
from .providers import THREAT, Enkrypt, Sieve, enkrypt_is
from .receivers import Answer, HookReceiver, SlackReceiver
from .world import SIGNING_SECRETS


def main() -> int:
    """Runs it; the exit code."""
    CASES.clear()
    folder = Path(tempfile.mkdtemp(prefix="scanbell-self-"))
    checks: List[Callable[[Path], None]] = [hook, planned_answers, slack_limits, sieve, enkrypt, mailbox, failures]
    if os.environ.get("SCANBELL_TEST_AMQP_URL"):
        checks.append(broker)
    results = [tell(run_one(Case(f"self-test: {check.__name__}", check), folder)) for check in checks]
    shutil.rmtree(folder, ignore_errors=True)
    return summarise(results, 0)


def fails(what: str, check: Callable[[], Any]) -> None:
    """Fails unless the check does."""
    try:
        check()
    except AssertionError:
        return
    raise AssertionError(f"not noticed: {what}")


def post(url: str, body: bytes, **headers: str) -> int:
    """A POST by Python's own client; the status."""
    return Api(url, "").call("POST", "", body, token=None, **headers).status


def hook(_: Path) -> None:
    """A signed webhook is recorded as it was sent, and verified."""
    server = HookReceiver()
    body = json.dumps({"type": "scan.completed", "data": {"scan_id": "abc"}})
    now = datetime.now(tz=timezone.utc)
    signature = Webhook(SIGNING_SECRETS[0]).sign("msg_1", now, body)
    post(server.url, body.encode(), webhook_id="msg_1", webhook_timestamp=str(int(now.timestamp())),
         webhook_signature=signature)
    request = server.of_scan("abc")[0]
    Webhook(SIGNING_SECRETS[0]).verify(request.body, dict(request.headers))
    equal(server.of_scan("other"), [], "webhooks about another scan")
    server.close()


def planned_answers(_: Path) -> None:
    """Answers come in their order, then the usual one."""
    server = HookReceiver()
    server.plan(Answer(503), Answer(410))
    equal([post(server.url, b"{}") for _ in range(3)], [503, 410, 200], "statuses")
    server.close()


def slack_limits(_: Path) -> None:
    """A good message passes, each broken one does not."""
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "hello &lt;!channel&gt;"}}
    check_slack({"text": "hello", "blocks": [section]})
    for what, message in {
        "no text": {"blocks": [section]},
        "too many blocks": {"text": "x", "blocks": [section] * 51},
        "a mention": {"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": HOSTILE[:99]}}]},
        "a mention in the text": {"text": "<!here>", "blocks": [section]},
        "a long text": {"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]},
        "a long header": {"text": "x", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]},
    }.items():
        fails(what, lambda message=message: check_slack(message))
    server = SlackReceiver()
    with urllib.request.urlopen(server.url + "/api/chat.postMessage", json.dumps({"text": "x"}).encode()) as answer:
        equal(json.load(answer)["ok"], True, "ok")
    equal(len(server.mentioning("x")), 1, "messages")
    server.close()


def sieve(_: Path) -> None:
    """The key is checked; a scan goes through its steps; an unknown one is 404."""
    server = Sieve("key")
    scan_id = server.scan(before=1, **THREAT)
    api = Api(server.url, "")
    ask = lambda scan, key="key": api.call("GET", f"/api/scans/{scan}", X_API_Key=key)  # noqa: E731
    equal(ask(scan_id, "other").status, 401, "another key")
    equal(ask(str(uuid.uuid4())).status, 404, "unknown scan")
    bodies = [ask(scan_id).json() for _ in range(3)]
    equal([(body["status"], body["isThreat"]) for body in bodies],
          [("processing", None), ("completed", True), ("completed", True)], "statuses")
    equal(server.polls_of(scan_id), 4, "polls")
    server.close()


def enkrypt(_: Path) -> None:
    """Both paths show the same job."""
    server = Enkrypt("key")
    job = server.job(enkrypt_is("initializing"))
    api = Api(server.url, "")
    ask = lambda page: api.call("GET", f"/mcp-hub/scan/{job}/{page}", apikey="key")  # noqa: E731
    equal(ask("status").json()["job_status"], "initializing", "first")
    equal(ask("results").json()["complete_result"]["scan_metadata"]["total_vulnerabilities"], 5, "results")
    equal(ask("other").status, 404, "another page")
    server.close()


def mailbox(folder: Path) -> None:
    """TLS and AUTH are required, a refused recipient is refused, what arrives is what was sent."""
    server = Mailbox(folder, "user", "secret")
    message = EmailMessage()
    for name, text in (("From", "Scanbell <a@example.com>"), ("To", "b@example.com"), ("Subject", "hello"),
                       ("Date", "Mon, 1 Jan 2024 00:00:00 +0000"), ("Message-ID", "<1@example.com>")):
        message[name] = text
    message.set_content("plain café")
    message.add_alternative("<p>html</p>", subtype="html")
    with smtplib.SMTP("localhost", server.port) as client:
        fails_smtp(client, message)
        client.starttls(context=ssl.create_default_context(cafile=str(server.ca_file)))
        fails_smtp(client, message)
        client.login("user", "secret")
        refused = client.send_message(message, to_addrs=["b@example.com", "refused@example.com"])
    equal(list(refused), ["refused@example.com"], "refused")
    mail = server.mentioning("plain café")[0]
    equal((mail.recipients, mail.encrypted), (["b@example.com"], True), "recipients and TLS")
    check_headers(mail)
    server.close()


def fails_smtp(client: smtplib.SMTP, message: EmailMessage) -> None:
    """The server does not take it yet."""
    try:
        client.send_message(message)
    except smtplib.SMTPException:
        client.rset()
        return
    raise AssertionError("the mail was taken")


def failures(_: Path) -> None:
    """Waiting ends, and differences are seen."""
    fails("something that never happens", lambda: eventually("never", lambda: None, within=0.2))
    fails("a difference", lambda: equal(1, 2, "numbers"))
    holds(run_one(Case("x", lambda _: fails("nothing", lambda: None)), None).error, "a failing case passed")


def broker(_: Path) -> None:
    """What is published is read back byte for byte; a queue that is not there is seen."""
    url: Optional[str] = os.environ.get("SCANBELL_TEST_AMQP_URL")
    queues = Broker(url or "", f"outside.self.{uuid.uuid4().hex[:8]}")
    equal(queues.depth(), None, "depth of no queue")
    with queues.channel() as channel:
        channel.queue_declare(queues.queue, durable=True)
        channel.queue_declare(queues.dead_letter_queue, durable=True)
    queues.publish(b"\xff\x00", headers={"a": "b"}, message_id="m")
    equal(queues.depth(), 1, "depth")
    queues.queue, original = queues.dead_letter_queue, queues.queue
    queues.publish(b"\xff\x00", headers={"a": "b"}, message_id="m")
    queues.queue = original
    for _attempt in range(2):
        letter = queues.dead_letters()[0]
        equal((letter.body, letter.headers, letter.properties.message_id), (b"\xff\x00", {"a": "b"}, "m"), "letter")
    queues.delete()
