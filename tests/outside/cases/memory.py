"""The prefetch is a bound on memory: what waits at the broker costs scanbell nothing."""
from __future__ import annotations

import json
import sqlite3
import time
from typing import Any, List

import pika

from ..harness import case, equal, eventually, holds
from ..receivers import Answer, HttpServer
from ..world import World

MESSAGES = 100_000
#: What 256 messages of 1 kB, their batch and the allocator may take, and no more.
ROOM = 24 * 1024 * 1024


def resident(daemon: Any) -> int:
    """The memory of the process, in bytes."""
    for line in open(f"/proc/{daemon.pid()}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def publish_many(broker: Any, count: int) -> None:
    """Messages of 1 kB, each about a scan of its own; not confirmed one by one."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    channel = connection.channel()
    properties = pika.BasicProperties(delivery_mode=2)
    for number in range(count):
        body = {"scan_id": f"00000000-0000-4000-8000-{number:012d}", "labels": {"filler": ""}}
        body["labels"] = {"filler": "x" * (1024 - len(json.dumps(body)))}
        channel.basic_publish("", broker.queue, json.dumps(body).encode(), properties)
    channel.close()  # the broker has read all when it answers
    connection.close()


@case("prefetch: 100,000 waiting messages of 1 kB do not grow scanbell", alone=True)
def waiting(world: World) -> None:
    silent = HttpServer(lambda _: Answer(503, b"later", {"Retry-After": "600"}))
    broker, daemon = world.new_daemon(
        "memory", sieve=f'[providers.sieve]\nbase_url = "{silent.url}"\napi_key = "k"\n'
                        'poll = { first = "10m", max = "10m", deadline = "1h" }\n'
                        "limits = { concurrency = 4, requests_per_second = 10 }\n",
        log='[log]\nfilter = "info"\n', routes='[[routes]]\nname = "all"\nto = ["hook"]\n')
    daemon.start()
    lock = sqlite3.connect(world.folder / "memory.db", isolation_level=None, timeout=30)
    lock.execute("BEGIN IMMEDIATE")  # the store takes nothing
    before = resident(daemon)
    publish_many(broker, MESSAGES)
    eventually("they wait", lambda: (broker.depth() or 0) >= MESSAGES - 300, within=60)
    seen: List[int] = []
    end = time.monotonic() + 12  # longer than the store waits for the lock, so that batches are tried again
    while time.monotonic() < end:
        seen.append(resident(daemon))
        time.sleep(0.2)
    print(f"      (resident: {before >> 10} kB before, {max(seen) >> 10} kB with {broker.depth()} waiting)")
    holds(max(seen) - before < ROOM, f"grew by {(max(seen) - before) >> 10} kB")
    with broker.channel() as channel:
        channel.queue_purge(broker.queue)  # to take them all would only take long
    lock.execute("ROLLBACK")
    lock.close()
    eventually("what was in hand is taken", lambda: daemon.api.metric(
        "scanbell_requests_total", source="amqp", result="following") >= 256)
    equal(broker.depth(), 0, "messages left")
    daemon.stop()
    silent.close()
