"""What a machine runs out of: space, permission, file descriptors, a disk that is quick; and back again."""
from __future__ import annotations

import http.client
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, List, Optional

from ..daemon import Daemon
from ..faults import Disk
from ..harness import SOON, case, equal, eventually, holds
from ..receivers import Answer, HookReceiver, Received, scan_of
from ..world import World
from .lifecycle import LEASE, ONLY_HOOK, told

#: More lines than this about one trouble would themselves fill a disk.
LINES_A_SECOND = 100


@case("a disk that is full: said, not ready, nothing acknowledged is lost, and all goes on once there is space",
      alone=True)
def full(world: World) -> None:
    broken_for_a_while(world, "full", Disk.full, "the disk is full", "free some space")


@case("a disk that became read-only: said, not ready, nothing acknowledged is lost, and all goes on once it is mended",
      alone=True)
def read_only(world: World) -> None:
    broken_for_a_while(world, "read_only", Disk.read_only, "disk_read_only.db: the disk failed", "read-only")


@case("a disk with errors: said, not ready, nothing acknowledged is lost, and all goes on once it is mended",
      alone=True)
def failing(world: World) -> None:
    broken_for_a_while(world, "failing", Disk.failing, "the disk failed", "Once it is mended")


def broken_for_a_while(world: World, name: str, breaks: Callable[[Disk], None], fact: str, way_out: str) -> None:
    """The disk breaks under load and is mended; there is no restart."""
    broker, daemon = world.new_daemon(f"disk_{name}", routes=ONLY_HOOK)
    disk = Disk(daemon)
    daemon.start()
    scans = [world.sieve.scan(before=3) for _ in range(60)]
    daemon.api.post("/v1/requests", scans[:20]).must(202)
    breaks(disk)
    reason = eventually("not ready", daemon.not_ready)
    holds(fact in reason and way_out in reason, f"readiness does not say {fact!r} and {way_out!r}: {reason}")
    answer = daemon.api.post("/v1/requests", scans[20])
    problem = answer.problem(503)
    holds(fact in problem["detail"], f"the answer does not say {fact!r}: {problem}")
    broker.publish(*scans[20:40])
    before, since = len(daemon.log().splitlines()), time.monotonic()
    eventually("it is tried again now and then", lambda: time.monotonic() - since > 3.0)
    said = len(daemon.log().splitlines()) - before
    holds(said < LINES_A_SECOND * 3, f"{said} lines of log in 3 s")
    holds(fact in daemon.log(), f"the log does not say {fact!r}")
    disk.well()
    eventually("ready again", daemon.is_ready)
    broker.publish(*scans[40:])
    eventually("all that was acknowledged, and all that waited in the queue, is told", lambda: told(world, scans),
               within=SOON)
    equal(broker.dead_letters(), [], "dead letters")
    equal(daemon.stop(), 0, "exit code")


@case("a real file system that is full: said, not ready, and all goes on once there is space", alone=True)
def full_for_real(world: World) -> None:
    folder = world.folder / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True,
                      check=False).returncode != 0:
        print("      (nobody but root can mount a small file system: only the preloaded full disk was tried)")
        return
    try:
        on_a_small_disk(world, folder)
    finally:
        for daemon in world.daemons():
            if daemon.config.stem == "small":
                daemon.close()
        subprocess.run(["umount", "-l", str(folder)], check=True)


def on_a_small_disk(world: World, folder: Path) -> None:
    """Somebody else's file fills it."""
    _, daemon = world.new_daemon("small", store=f'[store]\nurl = "sqlite:{folder}/small.db"\n', routes=ONLY_HOOK)
    daemon.start()
    accepted: List[str] = []
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(b"x" * 65536)
                file.flush()
        except OSError:
            pass
    reason = eventually("not ready", daemon.not_ready)
    holds("the disk is full" in reason and "free some space" in reason, f"readiness says: {reason}")
    for _ in range(20):
        scan_id = world.sieve.scan()
        if daemon.api.post("/v1/requests", scan_id).status == 202:
            accepted.append(scan_id)
    ballast.unlink()
    eventually("ready again", daemon.is_ready)
    scans = [world.sieve.scan() for _ in range(50)]
    daemon.api.post("/v1/requests", scans).must(202)
    eventually("all that was accepted is told", lambda: told(world, [*accepted, *scans]))
    equal(daemon.stop(), 0, "exit code")


@case("a store that cannot be written at start is named with the way out, and a start after that works", alone=True)
def not_writable(world: World) -> None:
    folder = world.folder / "sealed"
    folder.mkdir()
    _, daemon = world.new_daemon("sealed", store=f'[store]\nurl = "sqlite:{folder}/sealed.db"\n', routes=ONLY_HOOK)
    sealed = seal(folder)
    try:
        done = world.binary.run("run", "--config", daemon.config, within=30.0).must(69)
        text = done.out + done.err
        holds("sealed.db" in text and "permissions" in text or "allowed to write" in text, f"no way out: {text}")
    finally:
        sealed()
    daemon.start()
    equal(daemon.stop(), 0, "exit code")
    sealed = seal(folder)
    try:
        done = world.binary.run("run", "--config", daemon.config, within=30.0).must(69)
        text = done.out + done.err
        holds("sealed.db" in text and ("permissions" in text or "allowed to write" in text), f"no way out: {text}")
    finally:
        sealed()


def seal(folder: Path) -> Callable[[], None]:
    """Nobody can write there until the answer is called. Root is not stopped by permissions, but by a mount."""
    if os.geteuid() != 0:
        for path in [folder, *folder.iterdir()]:
            path.chmod(0o500 if path.is_dir() else 0o400)
        return lambda: [path.chmod(0o700) for path in [folder, *folder.iterdir()]] and None
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", str(folder), str(folder)], capture_output=True, check=False)
    holds(mounted.returncode == 0, f"cannot mount: {mounted.stderr!r}")
    return lambda: subprocess.run(["umount", str(folder)], check=True) and None


@case("a second daemon on the same store is refused with a clear message, and the first goes on", alone=True)
def second(world: World) -> None:
    _, daemon = world.new_daemon("first", routes=ONLY_HOOK)
    daemon.start()
    _, other = world.new_daemon("second", store=f'[store]\nurl = "sqlite:{world.folder}/first.db"\n')
    done = world.binary.run("run", "--config", other.config, within=30.0).must(69)
    text = done.out + done.err
    holds("another `scanbell run`" in text and "first.db" in text and "store.url" in text, f"not clear: {text}")
    scan_id = world.sieve.scan()
    daemon.api.post("/v1/requests", scan_id).must(202)
    eventually("the first goes on", lambda: world.hook.of_scan(scan_id))
    equal(daemon.stop(), 0, "exit code")


@case("with 128 file descriptors under load it stays up, and is well again when the load is over", alone=True)
def descriptors(world: World) -> None:
    slow = HookReceiver()
    slow.respond = lambda request: patiently(slow, request)
    many = "".join(f'[destinations.slow{n}]\nkind = "webhook"\nurl = "{slow.url}/{n}"\n'
                   'retry = { first = "200ms", growth = 2.0, max = "1s", give_up_after = "2m" }\n'
                   "limits = { concurrency = 64, requests_per_second = 500 }\n" for n in range(4))
    routes = '[[routes]]\nname = "all"\nto = ["hook", "slow0", "slow1", "slow2", "slow3"]\n'
    broker, daemon = world.new_daemon("descriptors", many, routes=routes)
    daemon.prefix = ["prlimit", "--nofile=128:128"]
    daemon.start()
    scans = [world.sieve.scan() for _ in range(150)]
    broker.publish(*scans[:100])
    idle = [connection for connection in (connected(daemon) for _ in range(130)) if connection]
    eventually("there is none left, and it is said", lambda: "Too many open files" in daemon.log())
    holds("ulimit" in daemon.log() or "LimitNOFILE" in daemon.log(), "the log names no way out")
    for connection in idle:
        connection.close()
    eventually("ready again", daemon.is_ready, within=LEASE)
    daemon.api.post("/v1/requests", scans[100:]).must(202)
    eventually("all are told to the healthy one", lambda: told(world, scans), within=LEASE)
    eventually("and to the slow ones", lambda: everywhere(slow, scans, 4), within=LEASE)
    equal(broker.dead_letters(), [], "dead letters")
    equal(daemon.stop(), 0, "exit code")
    slow.close()


def patiently(receiver: HookReceiver, _: Received) -> Answer:
    """After a while."""
    time.sleep(0.5)
    return receiver.usual


def connected(daemon: Daemon) -> Optional[socket.socket]:
    """A connection to the API that asks nothing; none where there is no more room even for waiting."""
    host, port = daemon.api.url.removeprefix("http://").split(":")
    try:
        return socket.create_connection((host, int(port)), timeout=1)
    except TimeoutError:
        return None


def everywhere(receiver: HookReceiver, scans: List[str], times: int) -> bool:
    """Whether each scan came on each of so many paths."""
    heard = {(request.path, scan_of(request)) for request in receiver.received()}
    return all((f"/{n}", scan) in heard for n in range(times) for scan in scans)


@case("a slow disk: 120 requests share its flushes, it stays ready, and SIGTERM is still graceful", alone=True)
def slow(world: World) -> None:
    broker, daemon = world.new_daemon("slow_disk", routes=ONLY_HOOK)
    disk = Disk(daemon)
    daemon.start()
    disk.slow(200)
    scans = [world.sieve.scan() for _ in range(120)]
    broker.publish(*scans[:60])
    threads = [threading.Thread(target=daemon.api.post, args=("/v1/requests", scan)) for scan in scans[60:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holds(daemon.is_ready(), "not ready")
    eventually("all are told", lambda: told(world, scans), within=LEASE)
    equal(daemon.stop(), 0, "exit code")
    holds("stopped gracefully" in daemon.log(), "not graceful")


@case("a disk that hangs: readiness says so in seconds, and a second signal ends the process all the same", alone=True)
def hangs(world: World) -> None:
    import signal  # pylint: disable=import-outside-toplevel

    _, daemon = world.new_daemon("hanging_disk", routes=ONLY_HOOK)
    disk = Disk(daemon)
    daemon.start()
    scan_id = world.sieve.scan(before=5)
    daemon.api.post("/v1/requests", scan_id).must(202)
    disk.slow(3_600_000)
    since = time.monotonic()
    reason = eventually("not ready", daemon.not_ready)
    holds("store" in reason and "disk" in reason, f"readiness says: {reason}")
    holds(time.monotonic() - since < 15, "readiness kept everybody waiting")
    disk.well()
    eventually("ready again, without a restart", daemon.is_ready)
    eventually("it is told", lambda: world.hook.of_scan(scan_id))
    disk.slow(3_600_000)
    more = world.sieve.scan()
    asking = threading.Thread(target=quietly, args=(daemon, more))
    asking.start()
    eventually("not ready", daemon.not_ready)
    daemon.signal(signal.SIGTERM)
    eventually("it is stopping", lambda: "stopping" in daemon.log())
    since = time.monotonic()
    daemon.signal(signal.SIGTERM)
    equal(daemon.wait(10.0), 0, "exit code")
    holds(time.monotonic() - since < 5, "the second signal was not obeyed at once")
    asking.join()


def quietly(daemon: Daemon, scan_id: str) -> None:
    """Asks, and does not mind that nobody answers."""
    try:
        daemon.api.post("/v1/requests", scan_id)
    except (ConnectionError, http.client.HTTPException, TimeoutError):
        pass
