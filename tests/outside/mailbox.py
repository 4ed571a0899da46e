"""A real SMTP server (aiosmtpd): STARTTLS with a certificate of its own CA, AUTH, recording."""
from __future__ import annotations

import email
import email.policy
import logging
import socket
import ssl
import threading
import warnings
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, List, Optional

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # clients that refuse its certificate are expected
warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")  # it does not see implicit TLS


@dataclass(frozen=True)
class Mail:
    """One mail as it came."""

    sender: str
    recipients: List[str]
    raw: bytes
    encrypted: bool

    def parsed(self) -> EmailMessage:
        """By Python's own mail parser."""
        message = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return message

    def part(self, media_type: str) -> str:
        """The text of the part of this type."""
        parts = [part for part in self.parsed().walk() if part.get_content_type() == media_type]
        assert len(parts) == 1, f"{len(parts)} parts of {media_type}"
        return str(parts[0].get_content())


class Mailbox:
    """Takes mails for everybody except `refused@…`, which it refuses for good."""

    def __init__(
        self, folder: Path, user: str, password: str, context: Optional[ssl.SSLContext] = None, implicit: bool = False,
        caller: Optional[ssl.SSLContext] = None,
    ) -> None:
        """Has a CA of its own unless a `context` is given; `caller` is who may look whether it is up."""
        self.ca_file = folder / "smtp-ca.pem"
        context = context or own_context(self.ca_file)
        self.port = free_port()
        self._mails: List[Mail] = []
        self._lock = threading.Lock()
        how = {"ssl_context": context, "auth_require_tls": False} if implicit else \
            {"tls_context": context, "require_starttls": True}
        self._controller = Listener(
            self, hostname="127.0.0.1", port=self.port, auth_required=True,
            authenticator=authenticator(user, password), **how,
        )
        self._controller.caller = caller
        self._controller.start()

    def mails(self) -> List[Mail]:
        """Everything so far, oldest first."""
        with self._lock:
            return list(self._mails)

    def mentioning(self, text: str) -> List[Mail]:
        """Those whose plain text names `text`."""
        return [mail for mail in self.mails() if text in mail.part("text/plain")]

    def close(self) -> None:
        """Stops listening."""
        self._controller.stop()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        """aiosmtpd's hook for one recipient."""
        if address.startswith("refused@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd's hook for a whole mail."""
        mail = Mail(envelope.mail_from, list(envelope.rcpt_tos), envelope.content, session.ssl is not None)
        with self._lock:
            self._mails.append(mail)
        return "250 taken"


class Listener(Controller):
    """aiosmtpd's, where callers have to show a certificate, too."""

    caller: Optional[ssl.SSLContext] = None

    def _trigger_server(self) -> None:
        if self.caller is None:
            super()._trigger_server()
            return
        with socket.create_connection((self.hostname, self.port), 5.0) as plain:
            with self.caller.wrap_socket(plain, server_hostname="localhost") as wrapped:
                wrapped.recv(1024)


def own_context(ca_file: Path) -> ssl.SSLContext:
    """A server certificate of a CA of its own, which goes to the file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def authenticator(user: str, password: str) -> Any:
    """Lets exactly one user in."""

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and data.login == user.encode() and data.password == password.encode()
        return AuthResult(success=known, handled=known)

    return check


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
