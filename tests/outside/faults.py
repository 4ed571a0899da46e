"""A disk that fails on demand (`faults.c`), for a daemon that is started with it."""
from __future__ import annotations

import errno
import os
import struct
import subprocess
from pathlib import Path

from .daemon import Daemon
from .harness import holds

SOURCE = Path(__file__).with_name("faults.c")


class Disk:
    """The disk of one daemon's store, as that daemon sees it."""

    def __init__(self, daemon: Daemon) -> None:
        folder = daemon.config.parent
        self._control = folder / f"{daemon.config.stem}.disk"
        self._control.write_bytes(struct.pack("ii", 0, 0))
        library = folder / f"{daemon.config.stem}.so"
        done = subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"],
                              capture_output=True, check=False)
        holds(done.returncode == 0, f"the C compiler that builds scanbell cannot build {SOURCE}: {done.stderr!r}")
        daemon.environment = {"LD_PRELOAD": str(library), "SCANBELL_FAULTS": str(self._control)}

    def _say(self, error: int, delay_ms: int) -> None:
        with self._control.open("r+b") as control:  # in place: the daemon has it mapped
            os.pwrite(control.fileno(), struct.pack("ii", error, delay_ms), 0)

    def full(self) -> None:
        """No space left."""
        self._say(errno.ENOSPC, 0)

    def read_only(self) -> None:
        """As a file system that its kernel has made read-only after an error."""
        self._say(errno.EROFS, 0)

    def failing(self) -> None:
        """Input/output errors."""
        self._say(errno.EIO, 0)

    def slow(self, delay_ms: int) -> None:
        """Every flush takes so long."""
        self._say(0, delay_ms)

    def well(self) -> None:
        """As it should be."""
        self._say(0, 0)
