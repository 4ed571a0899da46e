#!/usr/bin/env python3
"""Drives the built scanbell as outsiders would, against a real broker.

    tests/outside.py [--binary PATH] [--amqp URL] [--keep] [WORD …]

The binary comes from `--binary`, `$SCANBELL_BIN` or `target/debug/scanbell`; the broker from `--amqp` or
`$SCANBELL_TEST_AMQP_URL`. WORDs choose the cases whose name contains one of them. `--self-test` checks this
suite's own servers against independent clients and needs no scanbell. Needs `tests/requirements.txt`; `scripts/test`
brings all of it.

Every message comes from an independent AMQP client (pika), signatures are verified by the official Standard
Webhooks library, mail arrives at a real SMTP server (aiosmtpd) and is read by Python's own parser.
"""
from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import List

from outside import harness

ROOT = Path(__file__).resolve().parent.parent


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description="Drives the built scanbell as outsiders would.")
    default = os.environ.get("SCANBELL_BIN") or ROOT / "target" / "debug" / "scanbell"
    parser.add_argument("--binary", type=Path, default=default, help="the scanbell to drive")
    parser.add_argument("--amqp", default=os.environ.get("SCANBELL_TEST_AMQP_URL"), help="URL of a real broker")
    parser.add_argument("--self-test", action="store_true", help="check this suite's own servers only")
    parser.add_argument("--keep", action="store_true", help="keep the folder with stores and logs")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("words", nargs="*", help="run the cases whose name contains one of these")
    return parser.parse_args()


def chosen(words: List[str]) -> List[harness.Case]:
    """The cases to run."""
    return [item for item in harness.CASES if any(word in item.name for word in words) or not (words or item.slow)]


def main() -> int:
    """Runs it; the exit code."""
    asked = arguments()
    if asked.self_test:
        from outside import selftest  # pylint: disable=import-outside-toplevel

        return selftest.main()
    from outside import cases  # noqa: F401  # pylint: disable=import-outside-toplevel,unused-import

    todo = chosen(asked.words)
    if asked.list:
        print("\n".join(item.name for item in todo))
        return 0
    if not todo:
        print(f"0 passed, 0 failed, {len(harness.CASES)} skipped")
        return 0
    binary = Path(asked.binary).resolve()
    if not binary.is_file() or not asked.amqp:
        print(f"needs a binary ({binary}) and a broker ($SCANBELL_TEST_AMQP_URL); scripts/test brings both",
              file=sys.stderr)
        return 2
    return drive(binary, asked.amqp, todo, asked.keep)


def drive(binary: Path, amqp_url: str, todo: List[harness.Case], keep: bool) -> int:
    """Builds the world, starts the daemon, runs the cases, removes everything."""
    from outside.world import World  # pylint: disable=import-outside-toplevel

    world = World(binary, amqp_url)
    try:
        started = harness.tell(harness.run_one(harness.Case("the daemon starts", start), world))
        if started.error:
            return harness.summarise([started], len(todo))
        results = harness.run_cases(todo, world, world.daemon.last_words)
        code = harness.summarise(results, len(harness.CASES) - len(todo))
    finally:
        world.close()
        if keep:
            print(f"kept: {world.folder}", file=sys.stderr)
        else:
            shutil.rmtree(world.folder, ignore_errors=True)
    return code


def start(world: object) -> None:
    """Starts the daemon that most cases share."""
    world.daemon.start()  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
