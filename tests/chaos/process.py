"""scanbell under test: started, killed, stopped, started again; with a clock of its own where the schedule sets it."""
from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Dict, Optional

from .ledger import Kill, Ledger

#: Where Debian keeps libfaketime; the folder is named after the machine.
LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"

#: A SIGTERM is answered within `shutdown.grace` of the configuration and a little.
STOP_WITHIN = 12.0


def faketime() -> Optional[Path]:
    """The library that sets the clock of one process, if it is installed."""
    return next(iter(sorted(Path("/").glob(LIBRARIES.lstrip("/")))), None)


class Process:
    """`scanbell run`."""

    def __init__(self, binary: Path, folder: Path, ledger: Ledger, clock: bool) -> None:
        self._binary, self._folder, self._ledger = binary, folder, ledger
        self._clock_file = folder / "clock"
        self._library = faketime() if clock else None
        self._offset = 0
        self._process: Optional[asyncio.subprocess.Process] = None
        self._expected = False
        self._began_at = 0
        self.log_file = folder / "scanbell.log"
        self._changing = asyncio.Lock()
        self.stopped_well = True

    def set_clock(self, seconds: int) -> None:
        """Moves its clock by so much."""
        self._offset += seconds
        whole = self._clock_file.with_suffix(".new")
        whole.write_text(f"{self._offset:+d}\n")
        os.replace(whole, self._clock_file)

    def _environment(self) -> Dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        found = {**kept, "LANG": "C.UTF-8", "NO_COLOR": "1"}
        if self._library is not None:
            found |= {"LD_PRELOAD": str(self._library), "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
                      "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
                      "FAKETIME_CACHE_DURATION": "1"}
        return found

    async def start(self) -> None:
        """Starts it, if it does not run."""
        async with self._changing:
            await self._start()

    async def _start(self) -> None:
        if self._process is not None and self._process.returncode is None:
            return
        if self._library is not None and not self._clock_file.exists():
            self.set_clock(0)
        self._expected = False
        for kill in self._ledger.kills:
            kill.until = min(kill.until, time.monotonic())
        with self.log_file.open("ab") as log:
            log.write(b"--- started ---\n")
            log.flush()
            self._began_at = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                str(self._binary), "run", "--config", "scanbell.toml", cwd=self._folder, env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )
        asyncio.ensure_future(self._watch(self._process))

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if process is self._process and not self._expected:
            self._ledger.unexpected.append(f"scanbell ended by itself with exit code {code}")

    def kill(self) -> bool:
        """SIGKILL, now: no waiting in between, so that a moment is hit. `False` if it is ending already."""
        if self._process is None or self._process.returncode is not None or self._expected:
            return False
        self._expected = True
        self._process.kill()
        self._ledger.kills.append(Kill(time.monotonic()))
        return True

    async def restart(self, after: float) -> None:
        """Starts it again, once it has ended and some time has passed; unless somebody else has done so."""
        async with self._changing:
            if self._process is not None and self._expected:
                await self._process.wait()
                await asyncio.sleep(after)
                await self._start()

    async def stop(self) -> None:
        """SIGTERM, and waits. What it could not finish by then counts like a kill, and is no fault of its own."""
        async with self._changing:
            process = self._process
            if process is None or process.returncode is not None:
                return
            self._expected = True
            size = self.log_file.stat().st_size
            process.send_signal(signal.SIGTERM)
            try:
                code = await asyncio.wait_for(process.wait(), STOP_WITHIN)
            except asyncio.TimeoutError:
                self._ledger.unexpected.append(f"scanbell did not end within {STOP_WITHIN:.0f} s of SIGTERM")
                process.kill()
                code = await process.wait()
            early = code == -signal.SIGTERM and size == self._began_at  # before it could take over its signals
            if code != 0 and not early:
                self._ledger.unexpected.append(f"scanbell ended with exit code {code} after SIGTERM")
            self.stopped_well = early or b"stopped gracefully" in self.log_file.read_bytes()[size:]
            if not self.stopped_well:
                self._ledger.kills.append(Kill(time.monotonic()))

    def close(self) -> None:
        """Ends it whatever its state."""
        self._expected = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
