"""The built binary: its commands, its daemon, its HTTP."""
from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from .harness import eventually, holds, short


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as JSON."""
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"standard output is not JSON ({error}): {short(self.out)}") from error

    def must(self, code: int) -> Done:
        """Fails unless it ended so."""
        holds(self.code == code, f"expected exit code {code}, found {self.code}: {short(self.out)} {short(self.err)}")
        return self


class Binary:
    """`scanbell` as a person or a script calls it."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder

    def environment(self, extra: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
        """Nothing of ours but what a shell has."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return {**kept, "LANG": "C.UTF-8", "NO_COLOR": "1", **(extra or {})}

    def run(
        self, *arguments: Union[str, Path], env: Optional[Mapping[str, str]] = None, stdin: str = "",
        within: float = 60.0,
    ) -> Done:
        """Runs a command to its end."""
        done = subprocess.run(
            [str(self.path), *map(str, arguments)], cwd=self.folder, env=self.environment(env), input=stdin.encode(),
            capture_output=True, timeout=within, check=False,
        )
        return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@dataclass(frozen=True)
class Response:
    """What scanbell's HTTP answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise AssertionError(f"not JSON ({error}): {self.status} {short(self.body)}") from error

    def must(self, status: int) -> Response:
        """Fails unless the status is this."""
        holds(self.status == status, f"expected HTTP {status}, found {self.status}: {short(self.body)}")
        return self

    def problem(self, status: int) -> Dict[str, Any]:
        """The problem document of an error (RFC 9457)."""
        self.must(status)
        media_type = self.headers.get("content-type", "")
        holds(media_type.startswith("application/problem+json"), f"an error of type {media_type!r}: {short(self.body)}")
        value: Dict[str, Any] = self.json()
        return value


class Api:
    """scanbell's HTTP, with its token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    def call(
        self, method: str, path: str, body: Union[bytes, str, None] = None, token: Optional[str] = "",
        **headers: str,
    ) -> Response:
        """One request; `token=None` sends none, another text sends that one."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token or self.token}"
        data = body.encode() if isinstance(body, str) else body
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=30)
        try:
            return exchange(connection, method, urllib.parse.urlsplit(self.url).path + path, data, named)
        finally:
            connection.close()

    def get(self, path: str, **query: Any) -> Response:
        """`GET` with query parameters."""
        return self.call("GET", path + (f"?{urllib.parse.urlencode(query)}" if query else ""))

    def post(self, path: str, value: Any = None) -> Response:
        """`POST` of a value as JSON."""
        return self.call("POST", path, json.dumps(value), Content_Type="application/json")

    def items(self, path: str, **query: Any) -> List[Dict[str, Any]]:
        """The rows of one page of a list."""
        page = self.get(path, **query).must(200).json()
        found: List[Dict[str, Any]] = page["items"]
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series that have these labels; 0 if there is none."""
        return sum(value for found, value in self.series(name) if all(found.get(k) == v for k, v in labels.items()))

    def series(self, name: str) -> List[Tuple[Dict[str, str], float]]:
        """All series of a metric."""
        text = self.get("/metrics").must(200).body.decode()
        line = re.compile(rf"^{name}(?:\{{(.*)\}})? (\S+)$", re.MULTILINE)
        return [(dict(re.findall(r'(\w+)="([^"]*)"', found or "")), float(value)) for found, value in line.findall(text)]


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: Optional[bytes], headers: Mapping[str, str]
) -> Response:
    """One request and its answer; a server may answer and close before it has read all of a large body."""
    try:
        connection.request(method, path or "/", body, dict(headers))
    except (BrokenPipeError, ConnectionResetError):
        if connection.sock is None:
            raise
    answer = connection.getresponse()
    return Response(answer.status, lower(answer.headers), answer.read())


def lower(headers: Any) -> Dict[str, str]:
    """Header names in lower case."""
    return {name.lower(): text for name, text in headers.items()}


class Daemon:
    """`scanbell run`, started and stopped."""

    def __init__(self, binary: Binary, config: Path, url: str, token: str) -> None:
        self.environment: Dict[str, str] = {}
        self.umask = -1  # the suite's own
        self.binary = binary
        self.config = config
        self.api = Api(url, token)
        self.log_file = config.with_suffix(".log")
        #: What it is started with: `prlimit --nofile=128`.
        self.prefix: List[str] = []
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self, ready: bool = True) -> Daemon:
        """Starts it; waits until it is ready, or only until it is alive."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, str(self.binary.path), "run", "--config", str(self.config)], cwd=self.binary.folder,
                env=self.binary.environment(self.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                umask=self.umask,
            )
        eventually("the daemon answers", lambda: self._answers("/readyz" if ready else "/healthz"))
        return self

    def _answers(self, path: str) -> bool:
        assert self._process is not None
        code = self._process.poll()
        holds(code is None, f"the daemon ended with exit code {code}:\n{self.last_words()}")
        try:
            return self.api.call("GET", path, token=None).status == 200
        except (ConnectionError, http.client.HTTPException, TimeoutError):
            return False

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, within: float = 40.0) -> int:
        """Sends the signal and waits for the end; the exit code."""
        self.signal(with_signal)
        return self.wait(within)

    def signal(self, which: signal.Signals) -> None:
        """Sends the signal and returns at once."""
        os.kill(self.pid(), which)

    def wait(self, within: float = 40.0) -> int:
        """Waits for the end; the exit code."""
        assert self._process is not None
        return self._process.wait(within)

    def pid(self) -> int:
        """The process that is scanbell: with a prefix that forks, its child."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if self.prefix and children else self._process.pid

    def is_ready(self) -> bool:
        """What readiness says now."""
        try:
            return self.api.call("GET", "/readyz", token=None).status == 200
        except (ConnectionError, http.client.HTTPException, TimeoutError):
            return False

    def not_ready(self) -> str:
        """Why it is not ready; empty if it is, or does not answer."""
        try:
            answer = self.api.call("GET", "/readyz", token=None)
        except (ConnectionError, http.client.HTTPException, TimeoutError):
            return ""
        return answer.body.decode(errors="replace") if answer.status == 503 else ""

    def close(self) -> None:
        """Ends it whatever its state."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        """Everything it wrote."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join(line[:400] for line in self.log().splitlines()[-lines:])
