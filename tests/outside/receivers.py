"""HTTP on loopback: a recording server that answers as it is told.

Serves both ends of scanbell: the receivers of its messages, and (in `providers`) the scan APIs it polls.
"""
from __future__ import annotations

import json
import ssl
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Mapping, Optional, Type


@dataclass(frozen=True)
class Received:
    """One request as it came; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    peer: str = ""  # whom the client's certificate names

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What a server answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(value: Any, status: int = 200, **headers: str) -> Answer:
    """An answer with a JSON body; `Retry_After="1"` becomes the header `Retry-After`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


class HttpServer:
    """A threaded server on a free loopback port that records every request."""

    def __init__(self, respond: Callable[[Received], Answer]) -> None:
        self.respond = respond
        self._received: List[Received] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = complain  # type: ignore[method-assign]
        self._scheme, self._host = "http", "127.0.0.1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, or `https://localhost:PORT`."""
        return f"{self._scheme}://{self._host}:{self._server.server_address[1]}"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speaks TLS from now on; the handshake happens in the connection's own thread."""
        self._scheme, self._host = "https", "localhost"
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def received(self) -> List[Received]:
        """Everything so far, oldest first."""
        with self._lock:
            return list(self._received)

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()

    def _take(self, request: Received) -> Answer:
        with self._lock:
            self._received.append(request)
        return self.respond(request)

    def _handler(self) -> Type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            """Reads one request, records it, answers."""

            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                """Any method."""
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): text for name, text in self.headers.items()}
                body = self.rfile.read(length)
                answer = take(Received(self.command, self.path, headers, body, time.time(), peer_of(self.connection)))
                self.send_response(answer.status)
                for name, text in answer.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
                """Quiet: what came is recorded."""

        return Handler


def complain(_request: Any, _client: Any) -> None:
    """Says what broke in a handler, but for callers that hung up or did not get through the handshake."""
    if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
        traceback.print_exc()


def peer_of(connection: Any) -> str:
    """The common name in the client's certificate, if it showed one."""
    shown = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    fields = [field for part in (shown or {}).get("subject", ()) for field in part]
    return str(dict(fields).get("commonName", ""))


class Receiver(HttpServer):
    """A webhook or Slack receiver: answers 200 unless `planned` says otherwise, request by request."""

    def __init__(self, usual: Answer = Answer(200, b"ok")) -> None:
        self.usual = usual
        self.planned: List[Answer] = []
        super().__init__(self._next)

    def _next(self, _: Received) -> Answer:
        with self._lock:
            return self.planned.pop(0) if self.planned else self.usual

    def plan(self, *answers: Answer) -> None:
        """Answers the next requests so, in order."""
        with self._lock:
            self.planned.extend(answers)


class HookReceiver(Receiver):
    """A receiver of Standard Webhooks or CloudEvents: finds messages by the scan they speak of."""

    def of_scan(self, scan_id: str) -> List[Received]:
        """Those whose report has this `scan_id`."""
        return [request for request in self.received() if scan_of(request) == scan_id]


class SlackReceiver(Receiver):
    """Incoming webhooks and `chat.postMessage`."""

    def __init__(self) -> None:
        super().__init__()
        self.respond = self._as_slack

    def _as_slack(self, request: Received) -> Answer:
        if request.path.endswith("/auth.test"):
            return json_answer({"ok": True, "team": "outside"})
        if request.path.endswith("/chat.postMessage"):
            return json_answer({"ok": True, "channel": "C0SECOPS", "ts": "1700000000.000100"})
        return self._next(request)

    def mentioning(self, text: str) -> List[Received]:
        """Those in which `text` occurs, as JSON writes it."""
        needle = json.dumps(text)[1:-1]
        return [request for request in self.received() if needle in json.dumps(decoded(request))]


def decoded(request: Received) -> Optional[Dict[str, Any]]:
    """The body as a JSON object, if it is one."""
    try:
        value = request.json()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def scan_of(request: Received) -> Optional[str]:
    """The `scan_id` of the report in a webhook."""
    data = (decoded(request) or {}).get("data")
    return data.get("scan_id") if isinstance(data, dict) else None
