"""Named cases, waiting without luck, and the summary.

A case is a function of a `World`; it fails by an exception. `alone=True` marks one that brings its own daemon:
such cases run beside the others, because they mostly wait. `last=True` marks one that looks back on all others,
`slow=True` one that runs only where its name is asked for.
"""
from __future__ import annotations

import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Sequence, TypeVar

T = TypeVar("T")

#: How long something may take that is expected to happen soon. Generous: machines are busy.
SOON = 30.0


@dataclass(frozen=True)
class Case:
    """One named check."""

    name: str
    run: Callable[[Any], None]
    alone: bool = False
    last: bool = False
    slow: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a case; `error` is empty when it passed."""

    name: str
    seconds: float
    error: str


CASES: List[Case] = []


def case(name: str, **kind: bool) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Registers a check under a sentence that says what holds."""

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        CASES.append(Case(name, function, **kind))
        return function

    return register


def eventually(what: str, probe: Callable[[], Optional[T]], within: float = SOON) -> T:
    """The first truthy answer of `probe`; fails after `within` seconds with `what` and the last answer."""
    end = time.monotonic() + within
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:.0f} s: {what} (last seen: {answer!r})")
        time.sleep(0.05)


def equal(found: Any, expected: Any, what: str) -> None:
    """Fails with both values unless they are equal."""
    if found != expected:
        raise AssertionError(f"{what}: expected {short(expected)}, found {short(found)}")


def holds(truth: Any, what: str) -> None:
    """Fails with the sentence `what` unless `truth` holds."""
    if not truth:
        raise AssertionError(what)


def short(value: Any, limit: int = 600) -> str:
    """A value as it can be shown."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def run_cases(cases: Sequence[Case], world: Any, diagnose: Callable[[], str]) -> List[Result]:
    """Runs all, those that are alone beside the rest, the last ones at the end; prints what came of each."""
    results: List[Result] = []
    with ThreadPoolExecutor(max_workers=3) as pool:
        beside: List[Future[Result]] = [pool.submit(run_one, item, world) for item in cases if item.alone]
        for item in cases:
            if not item.alone and not item.last:
                results.append(tell(run_one(item, world), diagnose))
        results.extend(tell(future.result()) for future in beside)
    results.extend(tell(run_one(item, world), diagnose) for item in cases if item.last)
    return results


def run_one(item: Case, world: Any) -> Result:
    """Runs one case; no exception leaves."""
    started = time.monotonic()
    error = ""
    try:
        item.run(world)
    except AssertionError as failure:
        error = f"{failure}\n{where(failure)}"
    except Exception as failure:  # pylint: disable=broad-except  # a broken case is a failed case
        error = f"{type(failure).__name__}: {failure}\n{where(failure)}"
    return Result(item.name, time.monotonic() - started, error)


def where(failure: BaseException) -> str:
    """The lines of this suite that led to the failure."""
    frames = [f for f in traceback.extract_tb(failure.__traceback__) if "/outside/cases/" in f.filename]
    return "\n".join(f"at {frame.filename.split('/tests/')[-1]}:{frame.lineno}: {frame.line}" for frame in frames)


def tell(result: Result, diagnose: Optional[Callable[[], str]] = None) -> Result:
    """Prints one line for a pass, the reason and the daemon's last words for a failure."""
    if not result.error:
        print(f"ok    {result.name} ({result.seconds:.1f} s)", flush=True)
        return result
    print(f"FAIL  {result.name} ({result.seconds:.1f} s)", flush=True)
    text = result.error + (f"\n{diagnose()}" if diagnose else "")
    print("\n".join(f"      {line}" for line in text.splitlines()), flush=True)
    return result


def summarise(results: Sequence[Result], skipped: int) -> int:
    """The closing line; the exit code."""
    failed = [result for result in results if result.error]
    for result in failed:
        print(f"failed: {result.name}")
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed{tail}", flush=True)
    return 1 if failed or not results else 0
