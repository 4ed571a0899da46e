"""Everything around scanbell in one run: scan APIs, receivers, a proxy before the broker, and the configuration."""
from __future__ import annotations

import uuid
from pathlib import Path
from typing import Dict

from .ledger import Ledger
from .provider import Provider
from .proxy import Proxy
from .receivers import Faults, Mailbox, Moment, Receiver
from .wire import free_port
from .work import Scan

ROOT = Path(__file__).resolve().parent.parent.parent

#: Who hears of what; `work.Ask.due` says the same.
ROUTES = """
[[routes]]
name = "nobody"
when = 'labels.mute == "yes"'
to = []
stop = true

[[routes]]
name = "threats to people"
when = 'verdict == "threat"'
to = ["slack", "mail"]

[[routes]]
name = "what was not analysed"
when = 'outcome != "completed"'
to = ["slack"]

[[routes]]
name = "the red team reads mail"
when = 'labels.team == "red"'
to = ["mail"]

[[routes]]
name = "everything to machines"
to = ["hook", "frail"]
"""

#: Short waits, so that a run is short; `frail` gives up soon (see `judge.FRAIL_GIVES_UP`), the others never.
RETRY = 'retry = { first = "100ms", growth = 2.0, max = "800ms", give_up_after = "1h" }'
FRAIL = 'retry = { first = "100ms", growth = 1.5, max = "400ms", give_up_after = "1500ms" }'
FAST = "limits = { concurrency = 16, requests_per_second = 1000 }"
POLL = 'poll = { first = "100ms", growth = 1.4, max = "600ms", deadline = "30m", not_found_grace = "1s" }'


class World:
    """One run's surroundings."""

    def __init__(self, seed: int, folder: Path, broker: str, ledger: Ledger, scans: Dict[str, Scan],
                 moment: Moment) -> None:
        self.folder = folder
        self.faults = Faults(seed, ledger)
        self.proxy = Proxy(broker, moment)
        self.providers = {name: Provider(name, ledger, self.faults, scans, moment) for name in ("sieve", "enkrypt")}
        self.receivers = {name: Receiver(name, ledger, self.faults, scans, moment)
                          for name in ("hook", "frail", "slack", "ops")}
        self.mailbox = Mailbox(ledger, self.faults, self.receivers["hook"].scan_of, moment)
        self.queue = f"chaos.{seed}.{uuid.uuid4().hex[:6]}"
        self.port = free_port()
        self.write_configuration()

    def servers(self) -> Dict[str, object]:
        """All places that can be down."""
        http = {**self.providers, **self.receivers}
        return {**{name: one.server for name, one in http.items()}, "mail": self.mailbox}

    async def up(self) -> None:
        """Everything listens."""
        for server in self.servers().values():
            await server.up()  # type: ignore[attr-defined]
        await self.proxy.up()

    async def down(self) -> None:
        """Nothing does."""
        for server in self.servers().values():
            await server.down()  # type: ignore[attr-defined]
        self.proxy.cut()

    def write_configuration(self) -> None:
        """`scanbell.toml`, and profiles with a shorter patience for one poll."""
        profiles = self.folder / "profiles"
        profiles.mkdir(parents=True)
        for name in self.providers:
            text = (ROOT / "config" / "profiles" / f"{name}.toml").read_text()
            (profiles / f"{name}.toml").write_text(text + '\n[limits]\ntotal_timeout = "3s"\n')
        (self.folder / "scanbell.toml").write_text(self.configuration())

    def configuration(self) -> str:
        """The whole of it."""
        hook, frail, slack, ops = (self.receivers[name] for name in ("hook", "frail", "slack", "ops"))
        providers = "\n".join(
            f'[providers.{name}]\nbase_url = "{one.server.url}"\napi_key = "k"\n{POLL}\n'
            f'limits = {{ concurrency = 64, requests_per_second = 1000 }}\n' for name, one in self.providers.items()
        )
        return f"""
[store]
url = "sqlite:scanbell.db"

[intake]
default_provider = "sieve"
dedupe = "3d"

[amqp]
url = "{self.proxy.url}"
queue = "{self.queue}"
dead_letter_queue = "{self.queue}.dead"
prefetch = 64

[server]
listen = "127.0.0.1:{self.port}"

[log]
format = "json"
filter = "debug,hyper=warn,reqwest=warn,lapin=info,h2=warn,rustls=warn"

[shutdown]
grace = "4s"

[operator]
to = ["ops"]

{providers}
[destinations.hook]
kind = "webhook"
url = "{hook.server.url}/hook"
signing_secret = "whsec_{hook.secret}"
{RETRY}
{FAST}

[destinations.frail]
kind = "webhook"
format = "cloudevents"
url = "{frail.server.url}/frail"
signing_secret = "whsec_{frail.secret}"
{FRAIL}
{FAST}

[destinations.ops]
kind = "webhook"
url = "{ops.server.url}/ops"
signing_secret = "whsec_{ops.secret}"
{RETRY}

[destinations.slack]
kind = "slack"
webhook_url = "{slack.server.url}/services/T0/B0/X"
{RETRY}
{FAST}

[destinations.mail]
kind = "email"
smtp = "smtp://127.0.0.1:{self.mailbox.port}"
tls = "none"
from = "Scanbell <scanbell@example.com>"
to = ["oncall@example.com"]
{RETRY}
limits = {{ concurrency = 4 }}
{ROUTES}"""
