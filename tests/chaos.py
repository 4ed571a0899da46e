#!/usr/bin/env python3
"""The obligations test: nothing lost, nothing invented, whatever breaks. `scripts/chaos` brings what it needs.

    tests/chaos.py [--runs N] [--seed S] [--requests N] [--workers N] [--kinds kill,broker,…] [--amqp URL] [--json FILE]

An oracle publishes requests to a real RabbitMQ while a seeded schedule of faults runs: scanbell is killed, the broker
goes down, connections are cut and stalled, the scan APIs and the destinations fail in their own ways, the clock of the
process is set. Then the faults stop, and a judge compares what was owed with what arrived.
"""
from __future__ import annotations

import argparse
import faulthandler
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

from chaos import report
from chaos.node import Given, Node
from chaos.process import faketime
from chaos.run import Outcome, run
from chaos.schedule import KINDS, draw

ROOT = Path(__file__).resolve().parent.parent

NODE: Optional[Node] = None


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description="Breaks everything around scanbell and judges what came of it.")
    default = os.environ.get("SCANBELL_BIN") or ROOT / "target" / "debug" / "scanbell"
    parser.add_argument("--binary", type=Path, default=default, help="the scanbell to drive")
    parser.add_argument("--runs", type=int, default=10, help="how many schedules")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; run n has seed + n")
    parser.add_argument("--requests", type=int, default=500, help="requests in each run")
    parser.add_argument("--workers", type=int, default=2, help="runs beside each other, each with a broker of its own")
    parser.add_argument("--kinds", default=",".join(KINDS), help="only these faults")
    parser.add_argument("--amqp", help="use this broker, and leave it alone, instead of one that can be broken")
    parser.add_argument("--json", type=Path, help="write everything that came out into this file")
    parser.add_argument("--keep", action="store_true", help="keep the folders of runs that went well too")
    parser.add_argument("--self-test", action="store_true", help="check the judge only")
    parser.add_argument("--show", action="store_true", help="print the schedules and stop")
    return parser.parse_args()


def begin(folder: Path, amqp_url: Optional[str]) -> None:
    """In each worker: a broker of its own, unless one is given."""
    faulthandler.register(signal.SIGUSR1)  # says where a worker hangs
    global NODE  # pylint: disable=global-statement
    NODE = Given(amqp_url) if amqp_url else Node(ROOT / "scripts" / "rabbitmq", folder / f"broker-{os.getpid()}")
    NODE.start()


def kinds(asked: argparse.Namespace) -> Tuple[str, ...]:
    """The faults that can be had here."""
    wanted = asked.kinds.split(",")
    cannot = {"broker"} if asked.amqp else set()
    return tuple(kind for kind in wanted if kind not in cannot and (kind != "clock" or faketime()))


def one(seed: int, asked: argparse.Namespace, folder: Path) -> "Outcome | str":
    """In a worker: one run; a text if this suite itself failed."""
    assert NODE is not None
    try:
        return run(seed, asked.requests, asked.binary.resolve(), NODE, folder / f"seed-{seed}",
                   kinds(asked))
    except Exception:  # pylint: disable=broad-except
        return traceback.format_exc()


def main() -> int:
    """Runs it; the exit code."""
    asked = arguments()
    if asked.self_test:
        from chaos import selftest  # pylint: disable=import-outside-toplevel

        return selftest.main()
    seeds = range(asked.seed, asked.seed + asked.runs)
    if asked.show:
        for seed in seeds:
            print(f"seed {seed}")
            print("\n".join(draw(seed, asked.requests, kinds(asked)).lines()))
        return 0
    unknown = set(asked.kinds.split(",")) - set(KINDS)
    if unknown or not asked.binary.is_file():
        what = f"no such kind: {sorted(unknown)}" if unknown else f"no such binary: {asked.binary}"
        print(what, file=sys.stderr)
        return 2
    if "clock" in asked.kinds and not faketime():
        print("SKIPPED: no clock is set: libfaketime is missing (apt-get install faketime)", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="scanbell-chaos-"))
    folder.chmod(0o755)  # the broker's own user passes through it
    return drive(asked, list(seeds), folder)


def drive(asked: argparse.Namespace, seeds: List[int], folder: Path) -> int:
    """All runs; the exit code. Whatever ends it, no broker stays behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    outcomes: List[Outcome] = []
    broken = 0
    try:
        for seed, outcome in each(asked, seeds, folder):
            if isinstance(outcome, str):
                broken += 1
                print(f"BROKEN seed {seed}\n{outcome}", flush=True)
                continue
            outcomes.append(outcome)
            print(report.line(outcome, folder / f"seed-{seed}"), flush=True)
            if not outcome.verdict.complaints and not asked.keep:
                shutil.rmtree(folder / f"seed-{seed}", ignore_errors=True)
            if asked.json:
                asked.json.write_text(json.dumps(report.data(outcomes, time.monotonic() - started), indent=1))
    finally:
        for broker in folder.glob("broker-*"):
            Node(ROOT / "scripts" / "rabbitmq", broker).stop()
            shutil.rmtree(broker, ignore_errors=True)
    print(report.table(outcomes, time.monotonic() - started))
    failed = broken + sum(bool(outcome.verdict.complaints) for outcome in outcomes)
    if any(folder.iterdir()):
        print(f"kept: {folder}")
    else:
        folder.rmdir()
    print(f"{len(outcomes) + broken - failed} passed, {failed} failed", flush=True)
    return 1 if failed or not outcomes else 0


def each(asked: argparse.Namespace, seeds: List[int], folder: Path) -> "Iterator[Tuple[int, Outcome | str]]":
    """Runs beside each other, in the order in which they end."""
    workers = max(1, min(asked.workers, len(seeds)))
    with ProcessPoolExecutor(workers, initializer=begin, initargs=(folder, asked.amqp)) as pool:
        waiting = {pool.submit(one, seed, asked, folder): seed for seed in seeds}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.terminate()  # an interrupt there: what it started, it ends
            pool.shutdown(wait=True, cancel_futures=True)
            raise


if __name__ == "__main__":
    sys.exit(main())
