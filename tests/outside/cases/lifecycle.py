"""Crashes, signals, outages: cases with a daemon of their own."""
from __future__ import annotations

import signal
import time
from typing import List

from ..harness import SOON, case, equal, eventually, holds
from ..providers import Sieve, sieve_is
from ..receivers import scan_of
from ..world import SECRETS, World

#: What a killed daemon had in hand may stay its own for so long.
LEASE = 90.0

ONLY_HOOK = '[[routes]]\nname = "all"\nto = ["hook"]\n'


@case("kill -9 in the middle loses nothing: every scan is told, under one webhook-id", alone=True)
def killed(world: World) -> None:
    broker, daemon = world.new_daemon("killed", routes=ONLY_HOOK)
    daemon.start()
    scans = [world.sieve.follow([sieve_is("processing")]) for _ in range(60)]
    broker.publish(*scans[:40])
    eventually("some are followed", lambda: daemon.api.metric("scanbell_scans_active", provider="sieve") >= 1)
    equal(daemon.stop(signal.SIGKILL), -signal.SIGKILL, "killed")
    broker.publish(*scans[40:])
    for scan_id in scans[::2]:
        world.sieve.follow([sieve_is("completed")], scan_id)
    daemon.start()
    eventually("half of them are told", lambda: told(world, scans[::2]), within=LEASE + SOON)
    daemon.stop(signal.SIGKILL)
    for scan_id in scans[1::2]:
        world.sieve.follow([sieve_is("completed")], scan_id)
    daemon.start()
    eventually("all of them are told", lambda: told(world, scans), within=LEASE + SOON)
    for scan_id in scans:
        equal(len({request.headers["webhook-id"] for request in world.hook.of_scan(scan_id)}), 1, "webhook-ids")
    equal(len(daemon.api.items("/v1/scans", limit=100)), len(scans), "scans")
    equal(daemon.stop(), 0, "exit code")


def told(world: World, scans: List[str]) -> bool:
    """Whether the hook heard of all of them."""
    heard = {scan_of(request) for request in world.hook.received()}
    return set(scans) <= heard


@case("SIGTERM finishes what is in hand and ends with exit code 0, and so does SIGINT", alone=True)
def terminated(world: World) -> None:
    broker, daemon = world.new_daemon("terminated", routes=ONLY_HOOK)
    for kind in (signal.SIGTERM, signal.SIGINT):
        daemon.start()
        scan_id = world.sieve.follow([sieve_is("processing")])
        broker.publish(scan_id)
        eventually("it is polled", lambda scan_id=scan_id: world.sieve.polls_of(scan_id))
        started = time.monotonic()
        equal(daemon.stop(kind), 0, f"exit code after {kind.name}")
        holds(time.monotonic() - started < 26, "longer than shutdown.grace")
        world.sieve.follow([sieve_is("completed")], scan_id)
        daemon.start()
        eventually("the next run tells it", lambda scan_id=scan_id: world.hook.of_scan(scan_id))
        daemon.stop()


@case("a broker that is away at start does not keep the rest from working; readiness says so", alone=True)
def no_broker(world: World) -> None:
    away = '[amqp]\nurl = "amqp://guest:guest@127.0.0.1:1/%2f"\nqueue = "nothing"\n'
    _, daemon = world.new_daemon("no_broker", amqp=away, routes=ONLY_HOOK)
    daemon.start(ready=False)
    answer = daemon.api.call("GET", "/readyz", token=None).must(503)
    holds("broker" in answer.body.decode().lower(), f"readiness does not name the broker: {answer.body!r}")
    scan_id = world.sieve.scan()
    daemon.api.post("/v1/requests", scan_id).must(202)
    eventually("it is told all the same", lambda: world.hook.of_scan(scan_id))
    equal(daemon.stop(), 0, "exit code")


@case("queues that exist with other arguments are named, and readiness says so", alone=True)
def other_arguments(world: World) -> None:
    broker, daemon = world.new_daemon("arguments", routes=ONLY_HOOK)
    with broker.channel() as channel:
        channel.queue_declare(broker.queue, durable=True, arguments={"x-max-length": 7})
    daemon.start(ready=False)
    eventually("the log names the queue", lambda: broker.queue in daemon.log() and "max-length" in daemon.log()
               or ("PRECONDITION" in daemon.log() and broker.queue in daemon.log()))
    daemon.api.call("GET", "/readyz", token=None).must(503)
    daemon.stop()


@case("a refused key pauses the provider, fails no scan, and the replaced key is taken up", alone=True)
def refused_key(world: World) -> None:
    sieve = Sieve("the new key")  # its own: the shared one keeps its key
    key_file = world.folder / "rotated-key"
    key_file.write_text("the old key\n")
    provider = (f'[providers.sieve]\nbase_url = "{sieve.url}"\napi_key_file = "{key_file}"\n'
                'poll = { first = "100ms", growth = 1.2, max = "500ms", deadline = "5m", not_found_grace = "1s" }\n')
    _, daemon = world.new_daemon("refused_key", sieve=provider, routes=ONLY_HOOK)
    daemon.start()
    scan_id = sieve.scan()
    daemon.api.post("/v1/requests", scan_id).must(202)
    eventually("not ready", lambda: daemon.api.call("GET", "/readyz", token=None).status == 503)
    equal(daemon.api.metric("scanbell_provider_paused", provider="sieve"), 1.0, "scanbell_provider_paused")
    equal(len(daemon.api.items("/v1/scans", state="following")), 1, "the scan is still followed")
    key_file.write_text("the new key\n")
    eventually("the scan is told", lambda: world.hook.of_scan(scan_id), within=90.0)
    eventually("ready again", lambda: daemon.api.call("GET", "/readyz", token=None).status == 200)
    daemon.stop()
    sieve.close()


@case("a destination that is down delays no other", alone=True)
def bulkhead(world: World) -> None:
    down = f'[destinations.down]\nkind = "webhook"\nurl = "http://127.0.0.1:1/{SECRETS["hook path"]}"\n'
    routes = '[[routes]]\nname = "all"\nto = ["down", "hook"]\n'
    _, daemon = world.new_daemon("bulkhead", down, routes=routes)
    daemon.start()
    scans = [world.sieve.scan() for _ in range(20)]
    daemon.api.post("/v1/requests", scans).must(202)
    eventually("the other is told of all", lambda: told(world, scans))
    rows = daemon.api.items("/v1/deliveries", destination="down", state="pending", limit=50)
    equal(len(rows), len(scans), "pending deliveries to the one that is down")
    daemon.stop()


@case("run refuses to listen beyond loopback without a token", alone=True)
def open_server(world: World) -> None:
    _, daemon = world.new_daemon("open", server='[server]\nlisten = "0.0.0.0:0"\n')
    done = world.binary.run("run", "--config", daemon.config, within=20.0).must(2)
    holds("token" in done.out + done.err, "the problem does not name the token")


@case("a webhook to a private address is refused by the guard", alone=True)
def guarded(world: World) -> None:
    inner = '[destinations.inner]\nkind = "webhook"\nurl = "http://10.255.255.1:9/"\n'
    routes = '[[routes]]\nname = "all"\nto = ["inner"]\n'
    _, daemon = world.new_daemon("guarded", inner, routes=routes)
    daemon.start()
    daemon.api.post("/v1/requests", world.sieve.scan()).must(202)
    found = eventually("an attempt", lambda: daemon.api.metric("scanbell_attempts_total", reason="blocked_address"))
    holds(found >= 1, "the guard")
    daemon.stop()

