"""A cluster of three brokers whose leader goes away under load. Slow: runs where its name is asked for."""
from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from typing import Any, Callable, List, Set

import pika

from ..broker import Broker
from ..harness import case, equal, eventually, holds
from ..node import Cluster, Node, taken
from ..receivers import scan_of
from ..world import World

#: So many requests at least before the leader goes away, and again after it.
LOAD = 500


class Balancer:
    """What stands before a cluster: passes each connection to the first node that is up, in order of preference."""

    def __init__(self, nodes: List[Node]) -> None:
        self.nodes = nodes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def prefer(self, node: Node) -> None:
        """New connections go there while it is up."""
        self.nodes = [node] + [other for other in self.nodes if other is not node]

    def close(self) -> None:
        """Takes no more connections."""
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            for node in self.nodes:
                try:
                    server = socket.create_connection(("127.0.0.1", node.port), timeout=2)
                except OSError:
                    continue
                server.settimeout(None)
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=(one, other), daemon=True).start()
                break
            else:
                client.close()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Passes on what comes, until either end is gone; then both are."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Publisher(threading.Thread):
    """Publishes requests one by one, each until a node has confirmed it: what it counts, the cluster has promised."""

    def __init__(self, world: World, cluster: Cluster, queue: str) -> None:
        super().__init__(daemon=True)
        self.world, self.cluster, self.queue = world, cluster, queue
        self.confirmed: List[str] = []
        self.retried = 0
        self.enough = threading.Event()

    def run(self) -> None:
        channel: Any = None
        while not self.enough.wait(0.002):
            scan_id = self.world.sieve.scan(before=0)
            while True:
                try:
                    channel = channel or self.connect()
                    channel.basic_publish("", self.queue, json.dumps({"scan_id": scan_id}).encode(),
                                          pika.BasicProperties(delivery_mode=2), mandatory=True)
                    break
                except (pika.exceptions.AMQPError, OSError):
                    channel, self.retried = None, self.retried + 1
                    time.sleep(0.2)
            self.confirmed.append(scan_id)

    def connect(self) -> Any:
        """A channel with confirms on any node."""
        for node in self.cluster.nodes:
            if taken(node.port):
                parameters = pika.URLParameters(node.url)
                parameters.blocked_connection_timeout = 10
                channel = pika.BlockingConnection(parameters).channel()
                channel.confirm_delivery()
                return channel
        raise OSError("no node is up")


class Pauses(threading.Thread):
    """The longest time in which scanbell took no request."""

    def __init__(self, daemon: Any) -> None:
        super().__init__(daemon=True)
        self.of, self.longest, self.enough = daemon, 0.0, threading.Event()

    def run(self) -> None:
        seen, since = accepted(self.of), time.monotonic()
        while not self.enough.wait(0.05):
            now = accepted(self.of)
            if now > seen:
                self.longest = max(self.longest, time.monotonic() - since)
                seen, since = now, time.monotonic()


@case("cluster: a quorum queue whose leader is stopped, and whose next leader is killed, under load, loses nothing",
      alone=True, slow=True)
def leader_lost(world: World) -> None:
    cluster = world.nodes.cluster().start()
    balancer = Balancer(list(cluster.nodes))
    queue = f"outside.cluster.{uuid.uuid4().hex[:8]}"
    broker = Broker(f"amqp://guest:guest@127.0.0.1:{balancer.port}/%2f", queue)
    table = f'[amqp]\nurl = "{broker.url}"\nqueue = "{queue}"\n'
    _, daemon = world.new_daemon("cluster", amqp=table, routes='[[routes]]\nname = "all"\nto = ["hook"]\n',
                                 log='[log]\nfilter = "info"\n')
    daemon.start()
    told: Set[str] = set()
    for how in ("stopped", "killed"):
        told |= set(round_of(world, cluster, balancer, daemon, queue, how))
    heard = [scan_of(request) for request in world.hook.received() if scan_of(request) in told]
    ids = {request.headers["webhook-id"] for request in world.hook.received() if scan_of(request) in told}
    print(f"      ({len(told)} confirmed, {len(set(heard))} told, {len(heard) - len(ids)} sent twice)")
    equal(len(ids), len(told), "notifications")
    eventually("the queue is empty", lambda: broker.depth() == 0)
    equal(broker.dead_letters(), [], "dead letters")
    equal(daemon.stop(), 0, "exit code")
    balancer.close()


def round_of(
    world: World, cluster: Cluster, balancer: Balancer, daemon: Any, queue: str, how: str
) -> List[str]:
    """Load on scanbell connected to the leader; in the middle of it the leader goes away, and comes back after it."""
    leader = cluster.leader_of(queue)
    balancer.prefer(leader)
    with_leader(daemon, leader, cluster)
    publisher, pauses = Publisher(world, cluster, queue), Pauses(daemon)
    publisher.start()
    pauses.start()
    eventually("load before", lambda: len(publisher.confirmed) > LOAD, within=120)
    {"stopped": leader.stop, "killed": leader.kill}[how]()
    eventually("the leader is away", lambda: not taken(leader.port))
    before = len(publisher.confirmed)
    eventually("load after", lambda: len(publisher.confirmed) > before + LOAD, within=120)
    publisher.enough.set()
    publisher.join(timeout=60)
    holds(not publisher.is_alive(), "the publisher hangs")
    scans = set(publisher.confirmed)
    eventually("all are told", lambda: scans <= {scan_of(request) for request in world.hook.received()}, within=120)
    pauses.enough.set()
    successor = cluster.leader_of(queue)
    holds(successor is not leader, "the leader did not change")
    print(f"      (leader {how}: {len(scans)} confirmed, {publisher.retried} published again, requests went on "
          f"after {pauses.longest:.1f} s, all told)")
    if how == "killed":
        leader.stop()  # its mapper, and what is left of it
    leader.again()
    return list(scans)


def with_leader(daemon: Any, leader: Node, cluster: Cluster) -> None:
    """Makes scanbell connect anew, to the leader itself: that is the worst place."""
    for node in cluster.nodes:
        if node is not leader:
            node.ctl("close_all_connections", "the test wants you at the leader")
    connected: Callable[[], bool] = lambda: "scanbell requests" in leader.ctl("list_connections", "client_properties")
    eventually("scanbell is connected to the leader", connected, within=60)
    eventually("ready", lambda: daemon.api.call("GET", "/readyz", token=None).status == 200)


def accepted(daemon: Any) -> float:
    """Requests taken from the broker so far."""
    return float(daemon.api.metric("scanbell_requests_total", source="amqp"))
