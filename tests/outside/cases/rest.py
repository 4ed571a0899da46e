"""scanbell's HTTP: health, token, requests, lists, details, problems, metrics."""
from __future__ import annotations

import json
import uuid
from typing import Any, Dict

from ..harness import case, equal, eventually, holds
from ..world import World

READS = ("/v1/scans", "/v1/deliveries", "/v1/destinations", "/v1/providers", "/metrics")


@case("HTTP: health and readiness are open, everything else wants the token")
def token(world: World) -> None:
    equal(world.api.call("GET", "/healthz", token=None).status, 200, "/healthz")
    equal(world.api.call("GET", "/readyz", token=None).status, 200, "/readyz")
    world.api.call("GET", "/readyz", token=None).json()
    for path in READS:
        for wrong in (None, "wrong", world.api.token + "x", world.api.token[:-1]):
            world.api.call("GET", path, token=wrong).problem(401)
        equal(world.api.get(path).status, 200, path)
    world.api.call("POST", "/v1/requests", b'"x"', token=None).problem(401)


@case("HTTP: a request is accepted with our id and its state")
def accepted(world: World) -> None:
    scan_id = world.sieve.scan()
    answer = world.api.post("/v1/requests", {"scan_id": scan_id}).must(202).json()
    equal(answer["refused"], [], "refused")
    entry: Dict[str, Any] = answer["accepted"][0]
    equal({name: entry[name] for name in ("provider", "scan_id", "state")},
          {"provider": "sieve", "scan_id": scan_id, "state": "following"}, "accepted")
    scan = eventually("it is finished", lambda: finished(world, entry["id"]))
    equal((scan["scan_id"], scan["outcome"], scan["report"]["scan_id"]), (scan_id, "completed", scan_id), "the scan")


def finished(world: World, ours: str) -> Any:
    """The scan, once it is finished."""
    scan = world.api.get(f"/v1/scans/{ours}").must(200).json()
    return scan if scan["state"] == "finished" else None


@case("HTTP: a bare ID, a JSON string and a CloudEvent are taken by POST too")
def forms(world: World) -> None:
    scan_id = world.sieve.scan()
    equal(world.api.call("POST", "/v1/requests", scan_id, Content_Type="text/plain").status, 202, "bare")
    scan_id = world.sieve.scan()
    equal(world.api.call("POST", "/v1/requests", json.dumps(scan_id)).status, 202, "string")
    event = {"specversion": "1.0", "id": str(uuid.uuid4()), "type": "x", "source": "/outside",
             "data": {"scan_id": world.sieve.scan()}}
    answer = world.api.call("POST", "/v1/requests", json.dumps(event), Content_Type="application/cloudevents+json")
    equal(answer.status, 202, f"CloudEvent: {answer.body!r}")


@case("HTTP: a mixed array answers 202 and says which entries are refused and why")
def mixed(world: World) -> None:
    good = world.sieve.scan()
    entries = [good, {"scan_id": 5}, "../x", {"scan_id": good, "provider": "nobody"}]
    answer = world.api.post("/v1/requests", entries).must(202).json()
    equal([entry["scan_id"] for entry in answer["accepted"]], [good], "accepted")
    refused = [(entry["index"], entry["reason"]) for entry in answer["refused"]]
    equal(refused, [(1, "invalid-field"), (2, "invalid-scan-id"), (3, "unknown-provider")], "refused")
    holds(all(entry["error"] for entry in answer["refused"]), "a sentence for each")


@case("HTTP: what cannot be read is 400, what is acceptable in no part is 422, both with the refused list")
def refused(world: World) -> None:
    for body, status, reason in (
        ('{"scan_id"', 400, "not-json"),
        ("[" * 10_000, 400, "not-json"),
        (b"x" * (5 * 1024 * 1024), 400, "too-large"),
        ("../../etc/passwd", 422, "invalid-scan-id"),
        ('[{"scan_id": 1}]', 422, "invalid-field"),
        (json.dumps({"scan_id": str(uuid.uuid4()), "provider": "nobody"}), 422, "unknown-provider"),
    ):
        problem = world.api.call("POST", "/v1/requests", body).problem(status)
        equal([entry["reason"] for entry in problem["refused"]], [reason], f"reason for {body[:20]!r}")


@case("HTTP: an empty body is refused as missing-scan-id")
def empty(world: World) -> None:
    answer = world.api.call("POST", "/v1/requests", b"")
    holds(answer.status in (400, 422), f"status {answer.status}")
    equal([entry["reason"] for entry in answer.problem(answer.status)["refused"]], ["missing-scan-id"], "reason")


@case("HTTP: scans are listed by filter and in pages that neither repeat nor miss")
def pages(world: World) -> None:
    scans = [world.sieve.scan() for _ in range(5)]
    world.api.post("/v1/requests", scans).must(202)
    for scan_id in scans:
        eventually("it is finished",
                   lambda scan_id=scan_id: world.api.items("/v1/scans", scan_id=scan_id, state="finished"))
    seen, cursor = [], None
    while True:
        query = {"limit": 2, "provider": "sieve", "outcome": "completed", **({"cursor": cursor} if cursor else {})}
        page = world.api.get("/v1/scans", **query).must(200).json()
        equal(set(page), {"items", "next"}, "fields of a page")
        holds(len(page["items"]) <= 2, "limit")
        seen += [scan["id"] for scan in page["items"]]
        cursor = page["next"]
        if not cursor or len(seen) > 5000:
            break
    equal(len(seen), len(set(seen)), "no scan twice")
    wanted = {world.api.items("/v1/scans", scan_id=scan_id)[0]["id"] for scan_id in scans}
    holds(wanted <= set(seen), "a scan is missing in the pages")


@case("HTTP: a delivery is listed by state, destination and scan, and shown with its attempts")
def deliveries(world: World) -> None:
    ours = world.api.post("/v1/requests", world.sieve.scan()).must(202).json()["accepted"][0]["id"]
    row = eventually("delivered",
                     lambda: world.api.items("/v1/deliveries", scan=ours, destination="hook", state="delivered"))[0]
    equal({name: row[name] for name in ("scan", "destination", "state")},
          {"scan": ours, "destination": "hook", "state": "delivered"}, "row")
    detail = world.api.get(f"/v1/deliveries/{row['id']}").must(200).json()
    attempt = detail["attempts"][0]
    equal((attempt["number"], attempt["verdict"], attempt["reason"]), (1, "delivered", "ok"), "attempt")
    sent = [request for request in world.hook.received() if request.headers["webhook-id"] == row["id"]]
    equal(len(sent), 1, "webhooks whose webhook-id is the delivery's id")


@case("HTTP: errors are problem documents")
def problems(world: World) -> None:
    for path in (f"/v1/scans/{uuid.uuid4()}", f"/v1/deliveries/{uuid.uuid4()}", "/v1/nothing"):
        world.api.get(path).problem(404)
    for path in ("/v1/scans?state=sleeping", "/v1/deliveries?state=lost", "/v1/scans?limit=many",
                 "/v1/scans/not-a-uuid"):
        answer = world.api.get(path)
        holds(400 <= answer.status < 500, f"{path}: {answer.status}")
        problem = answer.problem(answer.status)
        holds(problem.get("title") or problem.get("detail"), f"{path}: a problem without words")
    world.api.post(f"/v1/deliveries/{uuid.uuid4()}/replay").problem(404)
    world.api.post("/v1/destinations/nobody/test").problem(404)


@case("HTTP: destinations and providers are listed by name, without their secrets")
def names(world: World) -> None:
    for path, wanted in (("/v1/destinations", {"slack", "bot", "mail", "hook", "events", "gone"}),
                         ("/v1/providers", {"sieve", "enkrypt"})):
        value = world.api.get(path).must(200).json()
        rows = value["items"] if isinstance(value, dict) else value
        equal({row["name"] for row in rows}, wanted, path)


@case("HTTP: a test message reaches its destination, marked as a test")
def send_test(world: World) -> None:
    before = len(world.events.received())
    holds(world.api.post("/v1/destinations/events/test").status in (200, 202), "not taken")
    request = eventually("the test message", lambda: world.events.received()[before:])[0]
    holds(b"test" in request.body.lower(), "it is not marked as a test")


@case("HTTP: every metric of the contract is there")
def metrics(world: World) -> None:
    text = world.api.get("/metrics").must(200).body.decode()
    for name in (
        "scanbell_requests_total", "scanbell_scans_active", "scanbell_polls_total", "scanbell_poll_seconds",
        "scanbell_reports_total", "scanbell_attempts_total", "scanbell_attempt_seconds", "scanbell_deliveries",
        "scanbell_delivery_oldest_seconds", "scanbell_notification_lag_seconds", "scanbell_provider_paused",
        "scanbell_destination_failing", "scanbell_amqp_connected", "scanbell_template_fallbacks_total",
    ):
        holds(f"\n{name}" in "\n" + text, f"{name} is missing")
    equal(world.api.metric("scanbell_amqp_connected"), 1.0, "scanbell_amqp_connected")
    holds(world.api.metric("scanbell_requests_total", source="amqp", result="not-json") > 0, "refusals by reason")
    holds(world.api.metric("scanbell_reports_total", provider="sieve", outcome="completed", verdict="threat",
                           severity="high") > 0, "reports by verdict")


@case("HTTP: a wrong method tells nothing to who has no token")
def wrong_method(world: World) -> None:
    for method, path in (("DELETE", "/v1/scans"), ("GET", "/v1/requests"), ("POST", "/metrics")):
        world.api.call(method, path, token=None).problem(401)
        problem = world.api.call(method, path).problem(405)
        holds(method in problem["detail"], f"{method} {path}: {problem}")
    world.api.call("POST", "/healthz", token=None).problem(405)


@case("HTTP: what no handler sees is a problem document too")
def unreadable(world: World) -> None:
    world.api.get("/v1/scans/%ff").problem(400)
    world.api.call("POST", "/v1/deliveries/replay", b" " * (2 * 1024 * 1024)).problem(413)


@case("HTTP: a replay is asked for with an object; a list replays nothing")
def replay_body(world: World) -> None:
    for body in ("[]", '["dead"]', "null", '"dead"', "{"):
        world.api.call("POST", "/v1/deliveries/replay", body, Content_Type="application/json").problem(400)
