"""A world for scanbell: two scan APIs, receivers of every kind, a queue of the real broker, a configuration."""
from __future__ import annotations

import base64
import json
import os
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Dict, List, Tuple

from .broker import Broker
from .daemon import Binary, Daemon
from .mailbox import Mailbox, free_port
from .node import Nodes
from .providers import Enkrypt, Sieve
from .receivers import Answer, HookReceiver, SlackReceiver

#: Nothing of these may ever be seen in a log, a metric or an answer.
SECRETS: Dict[str, str] = {
    "sieve key": "gds_outsideSieveKey0123456789abcdef",
    "enkrypt key": "outside-enkrypt-key-0123456789",
    "token": "outside-token-0123456789",
    "smtp password": "outside-smtp-password",
    "slack path": "T0OUTSIDE/B0OUTSIDE/slackhooksecret",
    "bot token": "xoxb-outside-bot-token",
    "header value": "outside-header-value",
    "hook path": "hook-path-credential",
    "person": "oncall-person@example.com",
    "amqp password": "outside-amqp-password",
}

#: Two secrets: the second is the one that is rotated in.
SIGNING_SECRETS: List[str] = ["whsec_" + base64.b64encode(os.urandom(32)).decode() for _ in range(2)]


class World:
    """Everything around one or several daemons; each daemon has its own store, port and queue."""

    def __init__(self, binary: Path, amqp_url: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="scanbell-outside-"))
        self.binary = Binary(binary, self.folder)
        self.amqp_url = amqp_url
        self.sieve = Sieve(SECRETS["sieve key"])
        self.enkrypt = Enkrypt(SECRETS["enkrypt key"])
        self.slack = SlackReceiver()
        self.hook = HookReceiver()
        self.events = HookReceiver()
        self.gone = HookReceiver(Answer(410, b"gone for good"))
        self.mailbox = Mailbox(self.folder, "scanbell", SECRETS["smtp password"])
        self._daemons: List[Daemon] = []
        self._brokers: List[Broker] = []
        self._lock = threading.Lock()
        self.nodes = Nodes()
        self.broker, self.daemon = self.new_daemon("main")
        self.api = self.daemon.api

    def new_daemon(self, name: str, *changes: str, **tables: str) -> Tuple[Broker, Daemon]:
        """A broker with queues of its own and a daemon that is not started yet."""
        broker = Broker(self.amqp_url, f"outside.{name}.{uuid.uuid4().hex[:8]}")
        port = free_port()
        config = self.folder / f"{name}.toml"
        config.write_text(self.configuration(name, broker, port, *changes, **tables))
        daemon = Daemon(self.binary, config, f"http://127.0.0.1:{port}", SECRETS["token"])
        with self._lock:
            self._daemons.append(daemon)
            self._brokers.append(broker)
        return broker, daemon

    def daemons(self) -> List[Daemon]:
        """All that were made so far."""
        with self._lock:
            return list(self._daemons)

    def close(self) -> None:
        """Ends and removes everything; the folder is the caller's."""
        for daemon in self.daemons():
            daemon.close()
        for broker in self._brokers:
            try:
                broker.delete()
            except Exception as error:  # pylint: disable=broad-except  # the broker may be gone already
                print(f"      (queues of {broker.queue} are left behind: {type(error).__name__})")
        for server in (self.sieve, self.enkrypt, self.slack, self.hook, self.events, self.gone):
            server.close()
        self.mailbox.close()
        self.nodes.close()

    def secret_file(self, name: str, text: str) -> str:
        """Writes a secret to a file; its path as TOML. In one step: another daemon may be reading it just now."""
        path = self.folder / f"secret-{name}"
        whole = self.folder / f"secret-{name}.{uuid.uuid4().hex}"
        whole.write_text(text + "\n")
        os.replace(whole, path)
        return json.dumps(str(path))

    def configuration(self, name: str, broker: Broker, port: int, *changes: str, **tables: str) -> str:
        """The whole configuration; `tables` replace those of the same key, `changes` are added at the end."""
        parts = {**self._intake(name, broker, port), **self._providers(), **self._people(), **self._machines(),
                 "routes": ROUTES, **tables}
        return "\n".join([*parts.values(), *changes])

    def _intake(self, name: str, broker: Broker, port: int) -> Dict[str, str]:
        return {
            "store": f'[store]\nurl = "sqlite:{self.folder}/{name}.db"\n',
            "intake": '[intake]\ndefault_provider = "sieve"\ndedupe = "1h"\n',
            "amqp": f'[amqp]\nurl = "{broker.url}"\nqueue = "{broker.queue}"\n'
                    f'dead_letter_queue = "{broker.dead_letter_queue}"\n',
            "server": f'[server]\nlisten = "127.0.0.1:{port}"\n'
                      f'token_file = {self.secret_file("token", SECRETS["token"])}\n',
            "log": '[log]\nformat = "json"\nfilter = "debug"\n',
        }

    def _providers(self) -> Dict[str, str]:
        pace = 'poll = { first = "100ms", growth = 1.2, max = "500ms", deadline = "60s", not_found_grace = "1s" }\n'
        limits = "limits = { concurrency = 64, requests_per_second = 500 }\n"
        return {
            "sieve": f'[providers.sieve]\nbase_url = "{self.sieve.url}"\n'
                     f'api_key_file = {self.secret_file("sieve", SECRETS["sieve key"])}\n{pace}{limits}',
            "enkrypt": f'[providers.enkrypt]\nbase_url = "{self.enkrypt.url}"\n'
                       f'api_key = "{SECRETS["enkrypt key"]}"\n{pace}{limits}',
        }

    def _people(self) -> Dict[str, str]:
        fast = "limits = { concurrency = 8, requests_per_second = 500 }\n"
        return {
            "slack": f'[destinations.slack]\nkind = "slack"\n'
                     f'webhook_url = "{self.slack.url}/services/{SECRETS["slack path"]}"\n{fast}',
            "bot": f'[destinations.bot]\nkind = "slack"\nbot_token = "{SECRETS["bot token"]}"\nchannel = "C0SECOPS"\n'
                   f'api_url = "{self.slack.url}/api"\n{fast}',
            "mail": f'[destinations.mail]\nkind = "email"\nsmtp = "smtp://localhost:{self.mailbox.port}"\n'
                    f'ca_file = "{self.mailbox.ca_file}"\nusername = "scanbell"\n'
                    f'password_file = {self.secret_file("smtp", SECRETS["smtp password"])}\n'
                    f'from = "Scanbell <scanbell@example.com>"\n'
                    f'to = ["refused@example.com", "{SECRETS["person"]}"]\n{fast}',
        }

    def _machines(self) -> Dict[str, str]:
        fast = "limits = { concurrency = 8, requests_per_second = 500 }\n"
        retry = 'retry = { first = "200ms", growth = 2.0, max = "1s", give_up_after = "1m" }\n'
        return {
            "hook": f'[destinations.hook]\nkind = "webhook"\nurl = "{self.hook.url}/{SECRETS["hook path"]}"\n'
                    f'signing_secret = {json.dumps(SIGNING_SECRETS)}\n'
                    f'headers = {{ X-Team = "{SECRETS["header value"]}" }}\n{retry}{fast}',
            "events": f'[destinations.events]\nkind = "webhook"\nurl = "{self.events.url}/in"\n'
                      f'format = "cloudevents"\nsigning_secret = "{SIGNING_SECRETS[0]}"\n{retry}{fast}',
            "gone": f'[destinations.gone]\nkind = "webhook"\nurl = "{self.gone.url}/in"\n'
                    f'signing_secret = "{SIGNING_SECRETS[0]}"\n{retry}{fast}',
        }


#: People hear of threats, machines of everything; `gone` only hears what names it.
ROUTES = """
[[routes]]
name = "threats to people"
when = 'verdict == "threat" || severity >= high'
to = ["slack", "bot", "mail"]

[[routes]]
name = "failures to slack"
when = 'outcome != "completed"'
to = ["slack"]

[[routes]]
name = "everything to machines"
to = ["hook", "events"]
"""
