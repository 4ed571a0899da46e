"""One run: publish, break things by the schedule, heal, wait until all is settled, judge."""
from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, FrozenSet, List, Optional

from outside.daemon import Api

from .judge import Evidence, Verdict, judge
from .ledger import Ledger
from .node import Node, Queues
from .process import Process
from .publisher import Publisher
from .schedule import Event, Schedule, Window, draw
from .work import EVERYWHERE, Message, Oracle, Work
from .world import World

#: How long after the last fault everything may take to settle: longer than any wait of scanbell's own.
SETTLED_WITHIN = 75.0

#: A provider or receiver that was to be the moment of a kill and has nothing to do: the kill comes all the same.
AIMED_WITHIN = 3.0


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    verdict: Verdict
    seconds: float
    settled_after: float
    wanted: int
    requests: int
    kills: int
    faults: Dict[str, int] = field(default_factory=dict)
    schedule: List[str] = field(default_factory=list)


class Run:
    """One seed."""

    def __init__(self, seed: int, requests: int, binary: Path, node: Node, folder: Path, schedule: Schedule) -> None:
        self.seed, self._wanted = seed, requests
        self.work: Work = Oracle(seed, requests).make()
        self.schedule = schedule
        self._random = random.Random(f"run {seed}")
        self._node = node
        self.ledger = Ledger()
        self._armed: List[Event] = []
        self.world = World(seed, folder, node.url, self.ledger, self.work.scans, self._moment)
        self.process = Process(binary, folder, self.ledger, schedule.clock)
        self.queues = Queues(node.url, self.world.queue)
        self._publisher = Publisher(node.url, self.world.queue, self.ledger)
        self._api = Api(f"http://127.0.0.1:{self.world.port}", "")
        self._tasks: List["asyncio.Task[Any]"] = []

    async def go(self) -> Outcome:
        """All of it; leaves nothing running."""
        started = time.monotonic()
        try:
            await self.world.up()
            await self.process.start()
            await self._until("scanbell is ready", self._is_ready, 30)
            await self._break_things()
            healed = time.monotonic()
            settled = await self._settle()
            took = time.monotonic() - healed
            verdict = judge(await self._gather(settled))
        finally:
            self.process.close()
            await self.world.down()
            await asyncio.sleep(0.1)  # who waits for them notices
            self._publisher.close()
            await asyncio.to_thread(self.queues.delete)
        kills = sum(count for name, count in self.ledger.faults.items() if name.startswith("kill"))
        return Outcome(self.seed, verdict, time.monotonic() - started, took, self._wanted, self.work.requests,
                       kills,
                       dict(self.ledger.faults), self.schedule.lines())

    # Breaking things.

    async def _break_things(self) -> None:
        self.ledger.began = time.monotonic()
        jobs = [self._publish(), *(self._carry_out(event) for event in self.schedule.events),
                *(self._hold(window) for window in self.schedule.windows)]
        await asyncio.gather(*jobs)
        self._armed.clear()
        self.world.proxy.open()
        await self.process.start()

    async def _wait_for(self, at: float) -> None:
        await asyncio.sleep(max(0.0, self.ledger.began + at - time.monotonic()))

    async def _publish(self) -> None:
        """In batches of different sizes over the time for publishing."""
        messages, at = list(self.work.messages), 0
        while at < len(messages):
            size = self._random.choice((1, 5, 20, 40))
            await self._wait_for(self.schedule.publishing * at / len(messages))
            await self._publisher.publish(messages[at:at + size])
            at += size
            await self._moment("broker", "published")

    async def _hold(self, window: Window) -> None:
        """A fault that lasts."""
        await self._wait_for(window.start)
        self.world.faults.begin(window.place, window.kind)
        server = self.world.servers()[window.place]
        if window.kind == "down":
            self.ledger.faults[f"{window.place} down"] += 1
            await server.down()  # type: ignore[attr-defined]
        await self._wait_for(window.end)
        if self.world.faults.end(window.place, window.kind) and window.kind == "down":
            await server.up()  # type: ignore[attr-defined]

    async def _carry_out(self, event: Event) -> None:
        """A fault of a moment."""
        await self._wait_for(event.at)
        kind, _, how = event.kind.partition(" ")
        if kind == "kill":
            await self._kill(event, how)
        elif kind == "term":
            self.ledger.faults["SIGTERM"] += 1
            await self.process.stop()
            await self.process.restart(self._random.uniform(0, 0.3))
        elif kind == "cut":
            self._cut("cut")
        elif kind == "stall":
            await self._stall(event)
        elif kind == "broker":
            await self._broker(event)
        elif kind == "clock":
            self.ledger.faults[f"clock {event.detail} s"] += 1
            self.process.set_clock(int(event.detail))

    def _cut(self, name: str) -> None:
        self.ledger.faults[f"connection {name}"] += 1
        self.ledger.cuts.append(time.monotonic())
        self.world.proxy.cut()

    async def _stall(self, event: Event) -> None:
        """Swallows what passes; the connection stays open."""
        self.world.proxy.stall(event.detail)
        self.ledger.faults[f"connection {event.kind}"] += 1
        if event.kind == "stall until noticed":
            lines = self._log_size()
            await self._until("the stall is noticed", lambda: self._noticed(lines), 60)
            self.ledger.cuts.append(time.monotonic())
        else:
            await asyncio.sleep(event.seconds)
        if event.kind == "stall and cut":
            self._cut("cut")
        self.world.proxy.open()

    def _log_size(self) -> int:
        return self.process.log_file.stat().st_size

    async def _noticed(self, start: int) -> bool:
        return b"no requests from the broker" in self.process.log_file.read_bytes()[start:]

    async def _broker(self, event: Event) -> None:
        """Down and up again; its data stays."""
        self.ledger.faults[f"broker {event.detail}"] += 1
        self.ledger.cuts.append(time.monotonic())
        await asyncio.to_thread(self._node.kill if event.detail == "killed" else self._node.stop)
        self.ledger.cuts.append(time.monotonic())
        await asyncio.to_thread(self._node.start)

    # Killing.

    async def _kill(self, event: Event, how: str) -> None:
        if how in ("now", "twice"):
            await self._die(event)
        if how == "twice":  # again while it starts
            await asyncio.sleep(self._random.uniform(0.0, 0.4))
            await self._die(event)
        if how == "acks held":  # committed, and the broker does not know
            self.world.proxy.stall("to broker")
            await asyncio.sleep(self._random.uniform(0.05, 0.6))
            self.ledger.cuts.append(time.monotonic())
            await self._die(event)
            self.world.proxy.cut()
            self.world.proxy.open()
        if how in ("published", "delivered", "polled", "before answer", "after answer"):
            await self._die_aimed(event)

    async def _die_aimed(self, event: Event) -> None:
        """Waits for the moment, but not for ever."""
        self._armed.append(event)
        end = time.monotonic() + AIMED_WITHIN
        while event in self._armed and time.monotonic() < end:
            await asyncio.sleep(0.02)
        if event in self._armed:
            self._armed.remove(event)
            await self._die(event)

    async def _die(self, event: Event) -> None:
        if self.process.kill():
            self.ledger.faults[event.kind] += 1
        await self.process.restart(self._random.uniform(0.0, 0.5))

    async def _moment(self, place: str, phase: str) -> None:
        """Something happens at a place: kills scanbell, if somebody waits for just that."""
        for event in self._armed:
            how = event.kind.partition(" ")[2]
            polled = how == "polled" and place in ("sieve", "enkrypt") and phase == "after answer"
            passed = place == "broker" and how == phase
            if polled or passed or (how == phase and event.detail == place):
                self._armed.remove(event)
                if passed:  # a few ms: until it is read, committed, acknowledged
                    await asyncio.sleep(self._random.uniform(0.0, 0.03 if how == "published" else 0.01))
                self._tasks.append(asyncio.ensure_future(self._die(event)))
                await asyncio.sleep(0)  # the signal is sent before anything else happens here
                return

    # The end.

    async def _until(self, what: str, probe: Callable[[], Awaitable[Any]], within: float) -> Any:
        end = time.monotonic() + within
        while True:
            answer = await probe()
            if answer or time.monotonic() > end:
                return answer
            await asyncio.sleep(0.1)

    async def _call(self, path: str) -> Any:
        """An answer of scanbell's HTTP; none if it does not come."""
        try:
            answer = await asyncio.to_thread(self._api.call, "GET", path, None, None)
            return answer.json() if answer.status == 200 else None
        except (OSError, AssertionError, ValueError):
            return None

    async def _is_ready(self) -> bool:
        return await self._call("/readyz") is not None

    async def _all(self, path: str) -> List[Dict[str, Any]]:
        """All pages of a list."""
        found: List[Dict[str, Any]] = []
        cursor: Optional[str] = ""
        while cursor is not None:
            page = await self._call(f"{path}?limit=500&cursor={cursor}")
            if page is None:
                raise RuntimeError(f"no answer to {path}")
            found += page["items"]
            cursor = page["next"]
        return found

    async def _settle(self) -> bool:
        """Waits until there is nothing left to do, twice in a row."""
        await self._until("ready again", self._is_ready, SETTLED_WITHIN)
        calm = 0

        async def twice() -> bool:
            nonlocal calm
            calm = calm + 1 if await self._is_calm() else 0
            return calm >= 2

        return bool(await self._until("everything is settled", twice, SETTLED_WITHIN))

    async def _is_calm(self) -> bool:
        for path in ("/v1/scans?state=following&limit=1", "/v1/deliveries?state=pending&limit=1"):
            page = await self._call(path)
            if page is None or page["items"]:
                return False
        if await asyncio.to_thread(self.queues.waiting) != 0:
            return False
        known = {row["scan_id"] for row in await self._all("/v1/scans")}
        return all(scan in known for message in self.work.messages for scan, _ in message.asks)

    async def _fresh(self) -> FrozenSet[str]:
        """A request after everything: to whom it got through."""
        await self._publisher.publish([self.work.fresh])

        async def told() -> FrozenSet[str]:
            return frozenset(one.destination for one in self.ledger.arrivals
                             if one.scan == self.work.fresh_scan and one.answer == "ok")

        async def everybody() -> bool:
            return await told() >= set(EVERYWHERE)

        await self._until("the fresh request got through", everybody, 30)
        await self._until("and is written down", self._is_calm, 10)
        return await told()

    async def _gather(self, settled: bool) -> Evidence:
        """All that is known; stops scanbell."""
        fresh = await self._fresh()
        if not settled:
            self.ledger.unexpected.append(f"not settled within {SETTLED_WITHIN:.0f} s of the last fault")
        scans, deliveries = await self._all("/v1/scans"), await self._all("/v1/deliveries")
        await self.process.stop()
        if not self.process.stopped_well:
            self.ledger.unexpected.append("scanbell had nothing to do and did not stop gracefully")
        left = await self._until("the queue is empty", self._left_nothing, 5)
        letters = await asyncio.to_thread(self.queues.letters)
        left_over = 0 if left else await asyncio.to_thread(self.queues.waiting)
        return Evidence(self.work, self.schedule, self.ledger, scans, deliveries, letters, left_over, fresh)

    async def _left_nothing(self) -> bool:
        return await asyncio.to_thread(self.queues.waiting) == 0


def run(seed: int, requests: int, binary: Path, node: Node, folder: Path, kinds: tuple[str, ...]) -> Outcome:
    """One run from its seed."""
    folder.mkdir(parents=True)
    schedule = draw(seed, requests, kinds)

    async def go() -> Outcome:
        return await Run(seed, requests, binary, node, folder, schedule).go()

    return asyncio.run(go())


__all__ = ["Message", "Outcome", "run"]
