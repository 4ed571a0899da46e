"""Plants a secret in every place that holds one, lets everything fail that can fail, and looks everywhere."""
from __future__ import annotations

import base64
import json
import re
import socketserver
import threading
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set
from urllib.parse import quote, unquote

from ..harness import case, equal, eventually, holds
from ..providers import THREAT, sieve_is
from ..receivers import Answer, HookReceiver, HttpServer, Received
from ..world import World

#: Even crates that are kept quiet whatever the level are named, so that nothing is filtered.
TRACE = ",".join(["trace"] + [f"{name}=trace" for name in (
    "lapin", "amq_protocol", "hyper", "hyper_util", "h2", "rustls", "reqwest", "lettre", "tower_http", "handlebars",
    "mio", "async_rs", "tokio", "tokio_util", "rusqlite", "cel")])


class Planted:
    """Secrets by the name of their place; each is its own and unlike anything else."""

    def __init__(self) -> None:
        self._all: Dict[str, str] = {}

    def __getitem__(self, place: str) -> str:
        return self._all.setdefault(place, f"s3c{uuid.uuid4().hex[:16]}x/y+{len(self._all)}@z")

    def url_safe(self, place: str) -> str:
        """As it is written in a URL."""
        return quote(self[place], safe="")

    def word(self, place: str) -> str:
        """One without special characters, for what allows none."""
        return self._all.setdefault(place, f"s3c{uuid.uuid4().hex}")

    def add(self, place: str, secret: str) -> str:
        """One that has to look like something."""
        return self._all.setdefault(place, secret)

    def found_in(self, data: bytes) -> Set[str]:
        """The places whose secret is in there, in any clothes."""
        return {place for place, secret in self._all.items() if any(form in data for form in clothes(secret))}


def clothes(secret: str) -> Iterator[bytes]:
    """A secret as it is, percent-encoded, as base64 wherever in a longer text, in hex, as numbers, escaped."""
    raw = secret.encode()
    yield raw
    for safe in ("", "/", "@/+"):
        yield quote(secret, safe=safe).encode()
        yield re.sub(r"%..", lambda match: match[0].lower(), quote(secret, safe=safe)).encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            coded = encode(b"\0" * shift + raw).rstrip(b"=")
            yield coded[(0, 2, 3)[shift]:-1]
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for form in (", ", ","):
        yield form.join(str(byte) for byte in raw).encode()
    yield json.dumps(secret)[1:-1].replace("/", "\\/").encode()


def echo(request: Received) -> str:
    """Everything of a request, as talkative servers show it."""
    authorization = request.headers.get("authorization", "")
    try:
        decoded = base64.b64decode(authorization.rpartition(" ")[2]).decode(errors="replace")
    except ValueError:
        decoded = ""
    shown = {"path": request.path, "plain": unquote(request.path), "sign-in": decoded, **request.headers}
    return json.dumps(shown)


def echoing(status: int, **headers: str) -> Callable[[Received], Answer]:
    """Answers with what it was asked."""
    def answer(request: Received) -> Answer:
        named = {name.replace("_", "-"): unquote(request.path) for name in headers}
        return Answer(status, echo(request).encode(), {**named, "X-Echo": quote(echo(request))})
    return answer


def slack_says(request: Received) -> Answer:
    """Slack's form of a refusal, with the token in it."""
    return Answer(200, json.dumps({"ok": False, "error": "fatal_error " + echo(request)}).encode())


class EchoSmtp(socketserver.ThreadingTCPServer):
    """A mail server that refuses every sign-in and quotes it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EchoSmtpSession)
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class EchoSmtpSession(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        self.wfile.write(b"220 echo\r\n")
        for line in self.rfile:
            word = line.strip()
            if word.upper().startswith(b"EHLO"):
                self.wfile.write(b"250-echo\r\n250 AUTH PLAIN\r\n")
            elif word.upper().startswith(b"AUTH"):
                coded = word.split()[-1]
                plain = base64.b64decode(coded).replace(b"\0", b" ")
                self.wfile.write(b"535 5.7.8 no " + coded + b" which is " + plain + b"\r\n")
            else:
                self.wfile.write(b"250 " + word + b"\r\n")


class Trouble:
    """Servers that fail in their own way, and the configuration that leads to them."""

    def __init__(self, world: World, planted: Planted) -> None:
        self.planted = planted
        self.witness = HookReceiver()  # gets what goes right, and what scanbell says about itself
        self.smtp = EchoSmtp()
        self.servers: Dict[str, HttpServer] = {
            "refusing": HttpServer(echoing(401)), "broken": HttpServer(echoing(500)),
            "forbidden": HttpServer(echoing(403)), "garbage": HttpServer(echoing(200)),
            "gone": HttpServer(echoing(410)), "moved": HttpServer(echoing(307, Location="x")),
            "slack": HttpServer(slack_says),
        }
        self.world = world

    def url(self, server: str, place: str) -> str:
        """A URL that is a credential in each of its parts."""
        port = self.servers[server].url.rpartition(":")[2]
        secret = self.planted.url_safe
        return (f"http://{secret(place + ' user')}:{secret(place + ' password')}@127.0.0.1:{port}"
                f"/in/{secret(place + ' path')}?key={secret(place + ' query')}")

    def destinations(self) -> str:
        """Every kind, each with every secret that it can have."""
        retry = 'retry = { first = "100ms", growth = 1.5, max = "500ms", give_up_after = "3s" }\n'
        fast = "limits = { concurrency = 4, requests_per_second = 100 }\n"
        parts = [f'[destinations.witness]\nkind = "webhook"\nurl = "{self.witness.url}/in"\n{retry}']
        for name in ("refusing", "broken", "forbidden", "garbage", "gone", "moved"):
            signing = self.planted.add(f"{name} signing", "whsec_" + base64.b64encode(uuid.uuid4().bytes * 2).decode())
            parts.append(
                f'[destinations.{name}]\nkind = "webhook"\n'
                f'url_file = {self.world.secret_file("planted-" + name, self.url(name, name))}\n'
                f'signing_secret = "{signing}"\n'
                f'headers = {{ X-Secret = {json.dumps(self.planted[name + " header"])} }}\n{retry}')
        for name in ("broken", "forbidden"):
            parts.append(f'[destinations.slack-{name}]\nkind = "slack"\n'
                         f'webhook_url = "{self.url(name, "slack " + name)}"\n{retry}{fast}')
        parts.append(f'[destinations.unreachable]\nkind = "webhook"\nurl = "http://no-such-host.invalid/'
                     f'{self.planted.url_safe("unreachable path")}"\n{retry}')
        parts.append(f'[destinations.untrusted]\nkind = "webhook"\nurl = "https://127.0.0.1:'
                     f'{self.servers["broken"].url.rpartition(":")[2]}/{self.planted.url_safe("https path")}"\n{retry}')
        parts.append(f'[destinations.guarded]\nkind = "webhook"\nurl = "http://10.255.255.1/'
                     f'{self.planted.url_safe("guarded path")}"\n{retry}')
        parts.append(f'[destinations.bot]\nkind = "slack"\nbot_token = "{self.planted.word("bot token")}"\n'
                     f'channel = "C0SECOPS"\napi_url = "{self.servers["slack"].url}/api"\n{retry}{fast}')
        parts.append(f'[destinations.mail]\nkind = "email"\nsmtp = "smtp://127.0.0.1:{self.smtp.port}"\ntls = "none"\n'
                     f'username = "scanbell"\npassword = {json.dumps(self.planted["smtp password"])}\n'
                     f'from = "scanbell@example.com"\nto = ["{self.planted.word("person")}@example.com"]\n{retry}')
        return "\n".join(parts)

    def providers(self) -> str:
        """One that works and some that do not; two have their key from the environment (see `environment`)."""
        pace = 'poll = { first = "100ms", growth = 1.2, max = "500ms", deadline = "3s", not_found_grace = "1s" }\n'
        parts = [f'[providers.sieve]\nbase_url = "{self.world.sieve.url}"\napi_key = "{self.world.sieve.key}"\n{pace}']
        for name in ("refusing", "broken", "garbage"):
            key = f'api_key_file = {self.world.secret_file("planted-key-" + name, self.planted[name + " api key"])}\n'
            parts.append(f'[providers.{name}]\nprofile = "sieve"\nbase_url = "{self.servers[name].url}"\n{key}{pace}')
        parts.append(f'[providers.fromenv]\nprofile = "enkrypt"\nbase_url = "{self.servers["broken"].url}"\n{pace}')
        return "\n".join(parts)

    def environment(self) -> Dict[str, str]:
        """Secrets in variables, and a trace of every panic."""
        return {"SCANBELL_PROVIDERS__FROMENV__API_KEY": self.planted["api key in the environment"],
                "SCANBELL_SERVER__TOKEN": self.planted.word("token in the environment"), "RUST_BACKTRACE": "full"}

    def names(self) -> List[str]:
        """All destinations."""
        return re.findall(r"^\[destinations\.(.+)\]$", self.destinations(), re.MULTILINE)

    def close(self) -> None:
        """Stops listening."""
        for server in (*self.servers.values(), self.witness):
            server.close()
        self.smtp.shutdown()
        self.smtp.server_close()


class Search:
    """Everything that was seen, and what should not have been in it."""

    def __init__(self, planted: Planted) -> None:
        self.planted = planted
        self.found: List[str] = []
        self.looked = 0

    def look(self, place: str, data: bytes) -> None:
        """Looks through what was seen there."""
        self.looked += 1
        self.found += [f"{secret} in {place}" for secret in sorted(self.planted.found_in(data))]

    def command(self, world: World, *words: Any, env: Dict[str, str]) -> None:
        """Looks through what a command prints."""
        done = world.binary.run(*words, env=env, within=90)
        self.look(f"`{' '.join(str(word) for word in words[:3])}`", (done.out + done.err).encode())


@case("secrets: planted in every place, with everything failing at trace level, none is seen anywhere in any clothes",
      alone=True)
def nowhere(world: World) -> None:
    planted = Planted()
    trouble, search = Trouble(world, planted), Search(planted)
    broker, daemon = world.new_daemon("secrets")
    text = ("[operator]\nto = [\"witness\", \"broken\"]\n" + world.configuration("secrets", broker, port_of(daemon)))
    keep = {"store", "intake", "amqp", "server"}
    tables = [part for part in re.split(r"(?m)^(?=\[)", text) if re.match(r"\[(operator|%s)\]" % "|".join(keep), part)]
    server = f'[server]\nlisten = "127.0.0.1:{port_of(daemon)}"\n'
    tables = [server if part.startswith("[server]") else part for part in tables]
    routes = "[[routes]]\nname = \"all\"\nto = %s\n" % json.dumps(trouble.names())
    log = f'[log]\nformat = "text"\nfilter = "{TRACE}"\n'
    daemon.config.write_text("\n".join([*tables, log, trouble.providers(), trouble.destinations(), routes]))
    daemon.environment = trouble.environment()
    daemon.umask = 0  # files are private all the same
    daemon.api.token = planted.word("token in the environment")
    daemon.start()
    fail_everything(world, daemon, trouble)
    over_http(daemon, search)
    by_command(world, daemon, search, planted)
    for request in trouble.witness.received():
        search.look("a message to the witness", request.body)
    stored(world, search, running=True)
    refused_broker(world, daemon, search, planted)
    equal(daemon.stop(), 0, "exit code")
    log_text = daemon.log()
    search.look("the log", log_text.encode())
    stored(world, search, running=False)
    holds(" TRACE " in log_text and "panicked" not in log_text, "a log at trace level without a panic")
    for crate in ("lapin", "hyper_util", "rustls", "reqwest"):
        holds(crate in log_text, f"{crate} says nothing: this check proves nothing")
    holds(search.looked > 60, f"looked only at {search.looked} places")
    holds(not search.found, "; ".join(sorted(set(search.found))))
    trouble.close()


def port_of(daemon: Any) -> int:
    """Where it listens."""
    return int(daemon.api.url.rpartition(":")[2])


def fail_everything(world: World, daemon: Any, trouble: Trouble) -> None:
    """Scans at each provider, a report to each destination; until each has failed, and one has worked."""
    good = world.sieve.scan(**THREAT)
    bad = world.sieve.follow([sieve_is("failed", error="damaged")])
    requests: List[Any] = [good, bad]
    requests = [{"scan_id": scan_id, "provider": "sieve"} for scan_id in requests]
    requests += [{"scan_id": str(uuid.uuid4()), "provider": name} for name in ("refusing", "broken", "garbage", "fromenv")]
    daemon.api.post("/v1/requests", requests).must(202)
    for name in trouble.names():
        eventually(f"{name} was tried", lambda name=name: daemon.api.metric("scanbell_attempts_total", destination=name),
                   within=60)
    for name in ("gone", "refusing", "mail", "bot"):
        eventually(f"{name} is dead", lambda name=name: daemon.api.items("/v1/deliveries", destination=name, state="dead"),
                   within=60)
    for name in ("broken", "garbage", "fromenv"):
        eventually(f"{name} timed out", lambda name=name: daemon.api.items("/v1/scans", provider=name, state="finished"))
    eventually("the pause", lambda: daemon.api.metric("scanbell_provider_paused", provider="refusing") == 1.0)
    eventually("the witness", lambda: trouble.witness.of_scan(good))
    daemon.api.post("/v1/deliveries/replay", {"destination": "gone"})


def over_http(daemon: Any, search: Search) -> None:
    """Every answer of the interface."""
    api = daemon.api
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/v1/destinations", "/v1/providers",
                 "/v1/scans?limit=100", "/v1/deliveries?limit=100"):
        search.look(path, api.get(path).body)
    for kind in ("scans", "deliveries"):
        for row in api.items(f"/v1/{kind}", limit=100):
            answer = api.get(f"/v1/{kind}/{row['id']}")
            search.look(f"/v1/{kind}/ID", answer.body + json.dumps(dict(answer.headers)).encode())
    for name in [row["name"] for row in api.get("/v1/destinations").json()["items"]]:
        search.look(f"test of {name}", api.post(f"/v1/destinations/{name}/test").body)


def by_command(world: World, daemon: Any, search: Search, planted: Planted) -> None:
    """Every command, also those that fail."""
    env, config = daemon.environment, ("--config", daemon.config)
    for words in (["check"], ["check", "--online"], ["explain"], ["schema"], ["scans", "list"],
                  ["scans", "list", "--json"], ["deliveries", "list"], ["deliveries", "list", "--json"],
                  ["watch", str(uuid.uuid4()), "--provider", "refusing"], ["watch", str(uuid.uuid4()), "--provider", "broken"],
                  ["submit", "../x"], ["submit", str(uuid.uuid4()), "--provider", "broken"]):
        search.command(world, *words, *config, env=env)
    for name in ("refusing", "slack-broken", "bot", "mail", "unreachable", "untrusted"):
        search.command(world, "send-test", name, *config, env=env)
        if name != "mail":  # the exact bytes of a mail name its reader
            search.command(world, "render", name, *config, env=env)
    for row in daemon.api.items("/v1/deliveries", state="dead", limit=20):
        search.command(world, "deliveries", "show", row["id"], *config, env=env)
    url = f"amqp://guest:{planted.url_safe('password on the command line')}@127.0.0.1:1/%2f"
    search.command(world, "submit", str(uuid.uuid4()), "--amqp", url, *config, env=env)
    wrong = {"SCANBELL_AMQP__URL": f"http://{planted.url_safe('amqp as http')}@x", "SCANBELL_DESTINATIONS__BOT__BOT_TOKEN":
             planted["bot token\n"] + "\n", "SCANBELL_DESTINATIONS__GONE__URL": planted["no url"],
             "SCANBELL_DESTINATIONS__GONE__SIGNING_SECRET": planted["no signing secret"],
             "SCANBELL_DESTINATIONS__GONE__HEADERS": planted["no headers"],
             "SCANBELL_DESTINATIONS__BOT__API_URL": f"https://u:{planted.url_safe('api_url')}@slack.com/api",
             "SCANBELL_PROVIDERS__BROKEN__BASE_URL": f"https://u:{planted.url_safe('base_url')}@127.0.0.1",
             "SCANBELL_DESTINATIONS__MAIL__SMTP": f"smtp://u:{planted.url_safe('smtp')}@127.0.0.1",
             "SCANBELL_STORE__URL": f"postgres://u:{planted.url_safe('store password')}@127.0.0.1:1/db"}
    for name, value in wrong.items():
        for command in ("check", "run"):
            search.command(world, command, *config, env={**env, name: value})
    broken = daemon.config.with_name("secrets-broken.toml")
    broken.write_text(daemon.config.read_text().replace('api_key = "', f'api_kye = "{planted["misspelt key"]}'))
    search.command(world, "check", "--config", broken, env=env)
    broken.write_text(f'[amqp]\nurl = "amqp://u:{planted["torn file"]}@h\n')
    search.command(world, "check", "--config", broken, env=env)


def refused_broker(world: World, daemon: Any, search: Search, planted: Planted) -> None:
    """A broker that does not let us in."""
    url = world.amqp_url.replace("guest:guest@", f"guest:{planted.url_safe('amqp password')}@")
    env = {**daemon.environment, "SCANBELL_AMQP__URL": url}
    search.command(world, "check", "--online", "--config", daemon.config, env=env)
    equal(daemon.stop(), 0, "exit code")
    daemon.environment = env
    daemon.start(ready=False)
    eventually("it is refused", lambda: "ACCESS_REFUSED" in daemon.log())
    search.look("/readyz", daemon.api.get("/readyz").body)
    search.look("/metrics", daemon.api.get("/metrics").body)


def stored(world: World, search: Search, running: bool) -> None:
    """The bytes of the store's files, and who may read them."""
    files: List[Path] = [path for path in world.folder.iterdir() if path.name.startswith("secrets.db")]
    for name in ("secrets.db", "secrets.db-wal", "secrets.db-shm", "secrets.db.lock"):
        holds(not running or name in {path.name for path in files}, f"no {name}")
    for path in files:
        equal(oct(path.stat().st_mode & 0o777), oct(0o600), f"permissions of {path.name}")
        search.look(path.name, path.read_bytes())
