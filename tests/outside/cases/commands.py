"""The command line, as a person or a script uses it."""
from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

from ..daemon import Done
from ..harness import case, equal, eventually, holds, short
from ..providers import THREAT, sieve_is
from ..world import SECRETS, World
from .telling import check_slack, dead_row

COMMANDS = ("run", "check", "submit", "watch", "render", "send-test", "explain", "scans", "deliveries", "simulate",
            "demo", "schema", "completions")

REPORT = {
    "id": "019a1111-2222-7333-8444-555566667777", "provider": "sieve", "scan_id": "2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e",
    "outcome": "completed", "status": "completed", "verdict": "threat", "severity": "high", "score": 0.93,
    "confidence": 0.95, "subject": {"name": "suspicious.pdf", "kind": "file", "sha256": "ab" * 32, "size": 123456,
                                    "media_type": "application/pdf"},
    "counts": {"issues": 5, "sensitive_data": 1}, "classes": ["document", "LLM01", "ASI02"],
    "findings": [{"title": "Macro downloads a program", "severity": "high", "location": "page 2"}], "error": None,
    "link": "https://sieve.godel-labs.ai/analysis/2b2f7b8b", "labels": {"team": "platform"},
    "requested_at": "2026-02-14T12:34:56Z", "finished_at": "2026-02-14T12:35:10Z", "polls": 4, "raw": {},
}


def scanbell(world: World, *arguments: Any, **options: Any) -> Done:
    """A command with the main daemon's configuration."""
    return world.binary.run(*arguments, "--config", world.daemon.config, **options)


def report_file(world: World) -> Path:
    """The example report in a file."""
    path = world.folder / "report.json"
    path.write_text(json.dumps(REPORT))
    return path


@case("command line: --version and --help teach every command; nonsense is exit code 2")
def helps(world: World) -> None:
    holds("scanbell" in world.binary.run("--version").must(0).out, "--version names it")
    text = world.binary.run("--help").must(0).out
    for command in COMMANDS:
        holds(command in text, f"--help does not name {command}")
        holds(len(world.binary.run(command, "--help").must(0).out) > 100, f"{command} --help says nothing")
    world.binary.run("dance").must(2)
    world.binary.run("run", "--fast").must(2)
    world.binary.run("run", "--config", "/no/such/file.toml").must(2)


@case("check: a good configuration is exit code 0, with --config before and after the command")
def check_good(world: World) -> None:
    world.binary.run("--config", world.daemon.config, "check").must(0)
    world.binary.run("check", "--config", world.daemon.config).must(0)


BROKEN = """
[amqp]
url = "amqp://127.0.0.1"
prefech = 5
[log]
format = "xml"
[providers.sieve]
profile = "seive"
[destinations.siem]
kind = "webhook"
url = "not a url"
[[routes]]
name = "broken"
when = 'severity >= '
to = ["nobody"]
"""


@case("check and run: every problem at once, with a way out, exit code 2, nothing started")
def check_broken(world: World) -> None:
    config = world.folder / "broken.toml"
    config.write_text(BROKEN)
    for command in ("check", "run"):
        done = world.binary.run(command, "--config", config).must(2)
        text = done.out + done.err
        for word in ("prefech", "prefetch", "xml", "seive", "did you mean", "nobody", "broken.toml", "[amqp]"):
            holds(word in text, f"{command}: {word!r} is not in: {short(text, 3000)}")


@case("check and run: without a provider neither says that all is well")
def check_nothing_to_follow(world: World) -> None:
    config = world.folder / "no-provider.toml"
    config.write_text("[log]\nformat = \"json\"\n")
    for command in ("check", "run"):
        done = world.binary.run(command, "--config", config, within=20).must(2)
        holds("no provider is configured" in done.err and "[providers.sieve]" in done.err, short(done.err))
        holds("is good" not in done.out, short(done.out))


@case("check --online: probes what is there; an unreachable broker is exit code 69")
def check_online(world: World) -> None:
    scanbell(world, "check", "--online").must(0)
    done = scanbell(world, "check", "--online", env={"SCANBELL_AMQP__URL": "amqp://guest:guest@127.0.0.1:1/%2f"})
    done.must(69)


@case("submit: hands IDs to the daemon and to the broker; a refusal is exit code 1, no daemon is 69")
def submit(world: World) -> None:
    by_http, by_amqp = world.sieve.scan(), world.sieve.scan()
    scanbell(world, "submit", by_http).must(0)
    scanbell(world, "submit", by_amqp, "--provider", "sieve", "--amqp").must(0)
    for scan_id in (by_http, by_amqp):
        eventually("a webhook", lambda scan_id=scan_id: world.hook.of_scan(scan_id))
    scanbell(world, "submit", "../../etc/passwd").must(1)
    scanbell(world, "submit", by_http, "--url", "http://127.0.0.1:1").must(69)


@case("submit: --amqp takes a URL or none, so that an ID may follow it; a wrong URL is exit code 2")
def submit_amqp(world: World) -> None:
    scan_id = world.sieve.scan()
    scanbell(world, "submit", "--amqp", scan_id).must(0)
    eventually("a webhook", lambda: world.hook.of_scan(scan_id))
    scanbell(world, "submit", "--amqp").must(2)
    scanbell(world, "submit", scan_id, "--amqp", "http://127.0.0.1").must(2)
    scanbell(world, "submit", scan_id, "--url", "nonsense").must(2)


@case("watch: a reader that goes away is no bug")
def watch_closed(world: World) -> None:
    scan_id = world.sieve.scan(before=3)
    command = f"{world.binary.path} watch {scan_id} --config {world.daemon.config} 2>&1 >/dev/null | head -n 1; " \
              "echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", command], cwd=world.folder, env=world.binary.environment(),
                          capture_output=True, check=False, timeout=60)
    equal(done.stdout.decode().splitlines()[-1], "0", "exit code")


@case("watch --json: 0 for clean, 3 at --fail-on, 4 for failed, unsupported and not found, 5 for timed out")
def watch(world: World) -> None:
    clean = world.sieve.scan()
    done = scanbell(world, "watch", clean, "--provider", "sieve", "--json").must(0)
    equal((done.json()["scan_id"], done.json()["verdict"]), (clean, "clean"), "the report")
    threat = world.sieve.scan(**THREAT)
    equal(scanbell(world, "watch", threat, "--fail-on", "high", "--json").must(3).json()["verdict"], "threat", "verdict")
    scanbell(world, "watch", threat, "--fail-on", "critical", "--json").must(0)
    for scan_id in (world.sieve.follow([sieve_is("failed", error="damaged")]),
                    world.sieve.follow([sieve_is("unsupported")]), str(uuid.uuid4())):
        scanbell(world, "watch", scan_id, "--json").must(4)
    for_ever = world.sieve.follow([sieve_is("processing")])
    short_deadline = {"SCANBELL_PROVIDERS__SIEVE__POLL__DEADLINE": "1s"}
    scanbell(world, "watch", for_ever, "--json", env=short_deadline).must(5)
    scanbell(world, "watch", "../x").must(2)


@case("watch: prints plain lines for a pipe, no escape codes")
def watch_plain(world: World) -> None:
    done = scanbell(world, "watch", world.sieve.scan(before=3, **THREAT)).must(0)
    text = done.out + done.err
    holds("\x1b[" not in text and "\r" not in text, f"escape codes in a pipe: {short(text)}")
    holds("threat" in text.lower() and "suspicious.pdf" in text, f"the report is not told: {short(text)}")


@case("render: the exact bytes for every destination")
def render(world: World) -> None:
    path = report_file(world)
    body = scanbell(world, "render", "hook", "--report", path).must(0).json()
    equal((body["type"], body["data"]["scan_id"]), ("scan.completed", REPORT["scan_id"]), "webhook")
    event = scanbell(world, "render", "events", "--report", path).must(0).json()
    equal(event["type"], "dev.scanbell.scan.completed", "CloudEvent")
    for name in ("slack", "bot"):
        check_slack(scanbell(world, "render", name, "--report", path).must(0).json())
    mail = scanbell(world, "render", "mail", "--report", path).must(0).out
    holds("Subject:" in mail and "suspicious.pdf" in mail and "text/html" in mail, f"mail: {short(mail)}")
    scanbell(world, "render", "hook").must(0)
    scanbell(world, "render", "nobody", "--report", path).must(2)


@case("explain: names the routes that match, and those that do not")
def explain(world: World) -> None:
    text = scanbell(world, "explain", "--report", report_file(world)).must(0).out
    for word in ("threats to people", "everything to machines", "failures to slack", "slack", "hook"):
        holds(word in text, f"{word!r} is not in: {short(text, 2000)}")


@case("send-test: one marked message; a refusal is exit code 1")
def send_test(world: World) -> None:
    before = len(world.hook.received())
    scanbell(world, "send-test", "hook").must(0)
    sent = world.hook.received()[before:]
    holds(any(b"test" in request.body.lower() for request in sent), "no marked message arrived")
    mails = len(world.mailbox.mails())
    scanbell(world, "send-test", "mail").must(0)
    holds(len(world.mailbox.mails()) > mails, "no mail arrived")
    scanbell(world, "send-test", "gone").must(1)
    scanbell(world, "send-test", "nobody").must(2)


@case("scans list and show, as a table and as JSON; nothing found is exit code 1")
def scans(world: World) -> None:
    listed = rows(scanbell(world, "scans", "list", "--json").must(0))
    holds(listed and all(name in listed[0] for name in ("id", "provider", "scan_id", "state", "outcome")), f"{listed[:1]}")
    holds(listed[0]["scan_id"] in scanbell(world, "scans", "list").must(0).out, "the table does not show it")
    shown = scanbell(world, "scans", "show", listed[0]["id"], "--json").must(0).json()
    equal(shown["scan_id"], listed[0]["scan_id"], "the scan shown")
    scanbell(world, "scans", "show", listed[0]["id"]).must(0)
    scanbell(world, "scans", "show", str(uuid.uuid4())).must(1)


def rows(done: Done) -> Any:
    """The rows of a list in JSON."""
    value = done.json()
    return value["items"] if isinstance(value, dict) else value


@case("deliveries list, show and replay, as a table and as JSON")
def deliveries(world: World) -> None:
    scan_id = world.sieve.scan()
    world.broker.publish(json.dumps({"scan_id": scan_id, "destinations": ["gone"]}))
    row = eventually("a dead delivery", lambda: dead_row(world, scan_id))
    listed = rows(scanbell(world, "deliveries", "list", "--state", "dead", "--json").must(0))
    holds(row["id"] in [item["id"] for item in listed], "the dead delivery is not listed")
    holds("gone" in scanbell(world, "deliveries", "list").must(0).out, "the table does not name the destination")
    shown = scanbell(world, "deliveries", "show", row["id"], "--json").must(0).json()
    equal([attempt["verdict"] for attempt in shown["attempts"]], ["reject"], "verdicts")
    scanbell(world, "deliveries", "replay", row["id"]).must(0)
    eventually("a second attempt", lambda: len(world.gone.of_scan(scan_id)) == 2)


@case("schema is JSON, and completions are shell")
def schema(world: World) -> None:
    value = world.binary.run("schema").must(0).json()
    holds("amqp" in json.dumps(value) and "$schema" in value, f"schema: {short(value)}")
    script = world.binary.run("completions", "bash").must(0).out
    checked = subprocess.run(["bash", "-n"], input=script.encode(), capture_output=True, check=False)
    equal((checked.returncode, checked.stderr), (0, b""), "bash -n")
    holds("send-test" in script, "completions name no command")
    world.binary.run("completions", "tcl").must(2)


@case("a variable of the environment wins over the file, and is checked like it")
def environment(world: World) -> None:
    done = scanbell(world, "check", env={"SCANBELL_AMQP__PREFETCH": "many"}).must(2)
    holds("prefetch" in (done.out + done.err).lower(), "the problem does not name the key")
    done = scanbell(world, "check", env={"SCANBELL_SERVER__TOKEN": SECRETS["token"], "SCANBELL_LOG__FORMAT": "xml"})
    holds(SECRETS["token"] not in done.must(2).out + done.err, "a secret is printed")


@case("demo: ends by itself with exit code 0 and says who was told what", alone=True)
def demo(world: World) -> None:
    done = world.binary.run("demo", within=120.0).must(0)
    text = (done.out + done.err).lower()
    for word in ("slack", "threat", "clean", "failed", "unsupported", "timed out"):
        holds(word in text or word.replace(" ", "_") in text, f"{word!r} is not in: {short(text, 3000)}")
    holds("\x1b[" not in text, "escape codes in a pipe")


@case("demo --amqp: the same through a real broker", alone=True)
def demo_amqp(world: World) -> None:
    world.binary.run("demo", "--amqp", world.amqp_url, within=120.0).must(0)
    left = [name for name in os.listdir(world.folder) if name.startswith("scanbell.db")]
    equal(left, [], "stores that the demo leaves behind")
