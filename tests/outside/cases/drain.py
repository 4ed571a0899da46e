"""The end of a daemon that is busy: graceful, out of time, at once; also as the first process of a container."""
from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from pathlib import Path
from typing import List

from ..daemon import Daemon
from ..harness import case, equal, eventually, holds
from ..providers import sieve_is
from ..receivers import Answer, HookReceiver, Received
from ..world import World
from .lifecycle import ONLY_HOOK, told

#: One line at the end of the log says which it was.
GRACEFUL, OUT_OF_TIME, AT_ONCE = "stopped gracefully", "shutdown.grace was over", "a second signal came"

FAST = "limits = { concurrency = 64, requests_per_second = 500 }\n"


def verdicts(daemon: Daemon) -> List[str]:
    """What the runs so far said of their ends."""
    return [kind for line in daemon.log().splitlines() for kind in (GRACEFUL, OUT_OF_TIME, AT_ONCE) if kind in line]


class SlowHook:
    """A receiver that takes its time, or hangs until it is let go."""

    def __init__(self, seconds: float) -> None:
        self.receiver = HookReceiver()
        self.let_go = threading.Event()
        self.seconds = seconds
        self.receiver.respond = self._answer

    def _answer(self, _: Received) -> Answer:
        self.let_go.wait(self.seconds)
        return self.receiver.usual

    def destination(self) -> str:
        """The destination `hook` of a configuration."""
        return (f'[destinations.hook]\nkind = "webhook"\nurl = "{self.receiver.url}/"\n'
                f'retry = {{ first = "200ms", growth = 2.0, max = "1s", give_up_after = "5m" }}\n{FAST}')

    def tells(self, scans: List[str]) -> bool:
        """Whether it heard of all."""
        return all(self.receiver.of_scan(scan) for scan in scans)

    def close(self) -> None:
        """Lets everybody go."""
        self.let_go.set()
        self.receiver.close()


@case("SIGTERM under load: what is in hand is finished within the grace, exit 0, one line, and nothing is lost",
      alone=True)
def under_load(world: World) -> None:
    hook = SlowHook(0.5)
    broker, daemon = world.new_daemon("drain_load", hook=hook.destination(), routes=ONLY_HOOK)
    daemon.start()
    scans = [world.sieve.scan() for _ in range(300)]
    asked: List[str] = []
    stop = threading.Event()
    threads = [threading.Thread(target=ask, args=(daemon, part, asked, stop)) for part in (scans[:75], scans[75:150])]
    for thread in threads:
        thread.start()
    broker.publish(*scans[150:])
    eventually("it is busy", lambda: len(hook.receiver.received()) > 20)
    since = time.monotonic()
    equal(daemon.stop(), 0, "exit code")
    took = time.monotonic() - since
    stop.set()
    for thread in threads:
        thread.join()
    holds(took < 25, f"it took {took:.1f} s")
    equal(verdicts(daemon), [GRACEFUL], "the last word")
    daemon.start()
    promised = [*asked, *scans[150:]]
    eventually("the next run tells the rest", lambda: hook.tells(promised), within=90.0)
    for scan_id in promised:
        equal(len(hook.receiver.of_scan(scan_id)), 1, "a graceful end repeats nothing")
    equal(broker.dead_letters(), [], "dead letters")
    equal(daemon.stop(), 0, "exit code")
    hook.close()


def ask(daemon: Daemon, scans: List[str], asked: List[str], stop: threading.Event) -> None:
    """Asks one after the other until nobody answers; notes what was accepted."""
    for scan_id in scans:
        try:
            if daemon.api.post("/v1/requests", scan_id).status == 202:
                asked.append(scan_id)
        except (ConnectionError, http.client.HTTPException, TimeoutError):
            return
        if stop.is_set():
            return


@case("a grace that runs out: exit 0, one line that says so, and the next run goes on under the same webhook-id",
      alone=True)
def out_of_time(world: World) -> None:
    hook = SlowHook(3600)
    _, daemon = world.new_daemon("drain_late", '[shutdown]\ngrace = "1s"\n', hook=hook.destination(), routes=ONLY_HOOK)
    daemon.start()
    scan_id = world.sieve.scan()
    daemon.api.post("/v1/requests", scan_id).must(202)
    first = eventually("it is being sent", lambda: hook.receiver.of_scan(scan_id))
    since = time.monotonic()
    equal(daemon.stop(), 0, "exit code")
    took = time.monotonic() - since
    holds(0.9 < took < 5, f"it took {took:.1f} s")
    equal(verdicts(daemon), [OUT_OF_TIME], "the last word")
    hook.let_go.set()
    daemon.start()
    again = eventually("the next run sends it again", lambda: hook.receiver.of_scan(scan_id)[1:])
    equal(again[0].headers["webhook-id"], first[0].headers["webhook-id"], "webhook-id")
    equal(again[0].body, first[0].body, "bytes")
    equal(daemon.stop(), 0, "exit code")
    hook.close()


@case("a second signal stops at once, be it SIGTERM or SIGINT", alone=True)
def twice(world: World) -> None:
    hook = SlowHook(3600)
    _, daemon = world.new_daemon("drain_twice", hook=hook.destination(), routes=ONLY_HOOK)
    daemon.start()
    scan_id = world.sieve.scan()
    daemon.api.post("/v1/requests", scan_id).must(202)
    for run, (first, then) in enumerate([(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT),
                                         (signal.SIGINT, signal.SIGTERM)], start=1):
        if run > 1:
            daemon.start()
        eventually("it is being sent", lambda run=run: len(hook.receiver.of_scan(scan_id)) >= run)
        hurry(daemon, first, then, run)
        equal(verdicts(daemon), [AT_ONCE] * run, "the last words")
    hook.close()


def hurry(daemon: Daemon, first: signal.Signals, then: signal.Signals, run: int) -> None:
    """One signal, and another before the first has done its work."""
    daemon.signal(first)
    eventually("it is stopping", lambda: daemon.log().count("stopping: taking nothing more") >= run)
    since = time.monotonic()
    daemon.signal(then)
    equal(daemon.wait(10.0), 0, "exit code")
    holds(time.monotonic() - since < 3, f"{then.name} was not obeyed at once")


@case("as the first process of a container: SIGTERM is graceful, a second signal stops at once", alone=True)
def first_process(world: World) -> None:
    hook = SlowHook(1.0)
    _, daemon = world.new_daemon("pid_one", hook=hook.destination(), routes=ONLY_HOOK)
    rootless = [] if os.geteuid() == 0 else ["--map-root-user"]
    daemon.prefix = ["unshare", *rootless, "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        daemon.start()
    except AssertionError:
        if "unshare" not in daemon.log():
            raise
        print("      (no namespaces for us here: scanbell as the first process was not tried)")
        return
    status = Path(f"/proc/{daemon.pid()}/status").read_text()
    holds("\nNSpid:" in status and status.split("\nNSpid:")[1].splitlines()[0].split()[-1] == "1", "not process 1")
    scans = [world.sieve.scan() for _ in range(20)]
    daemon.api.post("/v1/requests", scans).must(202)
    eventually("they are being sent", lambda: len(hook.receiver.received()) >= 5)
    equal(daemon.stop(), 0, "exit code")
    equal(verdicts(daemon), [GRACEFUL], "the last word")
    hook.seconds = 3600
    late = world.sieve.scan()
    daemon.start()
    daemon.api.post("/v1/requests", late).must(202)
    eventually("it is being sent", lambda: hook.receiver.of_scan(late))
    hurry(daemon, signal.SIGTERM, signal.SIGINT, 2)
    equal(verdicts(daemon), [GRACEFUL, AT_ONCE], "the last words")
    hook.close()


@case("SIGTERM while a scan is followed and nothing is in hand ends it within a second or two", alone=True)
def idle(world: World) -> None:
    _, daemon = world.new_daemon("drain_idle", routes=ONLY_HOOK)
    daemon.start()
    scan_id = world.sieve.follow([sieve_is("processing")])
    daemon.api.post("/v1/requests", scan_id).must(202)
    eventually("it is polled", lambda: world.sieve.polls_of(scan_id))
    since = time.monotonic()
    equal(daemon.stop(), 0, "exit code")
    holds(time.monotonic() - since < 5, "an idle daemon took long to end")
    equal(verdicts(daemon), [GRACEFUL], "the last word")
    world.sieve.follow([sieve_is("completed")], scan_id)
    daemon.start()
    eventually("the next run tells it", lambda: told(world, [scan_id]))
    daemon.stop()
