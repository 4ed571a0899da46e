"""TLS to everything outgoing, against OpenSSL: what is trusted, what is shown, what is said when it fails."""
from __future__ import annotations

import json
import socket
import time
from typing import Any, Dict, List

from ..authority import Authority
from ..harness import case, equal, eventually, holds, short
from ..mailbox import Mailbox
from ..providers import THREAT, Sieve
from ..receivers import Answer, HookReceiver, HttpServer, SlackReceiver
from ..world import SECRETS, World

EVERYWHERE = '[[routes]]\nname = "all"\nto = ["hook", "slack", "bot", "starttls", "implicit"]\n'
FAST = "limits = { concurrency = 8, requests_per_second = 500 }\n"
RETRY = 'retry = { first = "200ms", growth = 2.0, max = "1s", give_up_after = "1m" }\n'


def mail_to(name: str, url: str, more: str) -> str:
    """A mail destination."""
    return (f'[destinations.{name}]\nkind = "email"\nsmtp = "{url}"\nusername = "scanbell"\n'
            f'password = "{SECRETS["smtp password"]}"\nfrom = "scanbell@example.com"\n'
            f'to = ["{SECRETS["person"]}"]\n{FAST}{more}')


@case("TLS: a private CA and our certificate, demanded by provider, webhook, Slack and mail servers alike", alone=True)
def demanded(world: World) -> None:
    authority = Authority(world.folder, "demanded")
    sieve, hook, slack = Sieve(SECRETS["sieve key"]), HookReceiver(), SlackReceiver()
    for server in (sieve, hook, slack):
        server.encrypt(authority.server("localhost"))
    boxes = {name: Mailbox(world.folder, "scanbell", SECRETS["smtp password"], authority.server("localhost"),
                           implicit=name == "implicit", caller=authority.caller() if name == "implicit" else None)
             for name in ("starttls", "implicit")}
    known = authority.known()
    _, daemon = world.new_daemon(
        "tls",
        mail_to("starttls", f"smtp://localhost:{boxes['starttls'].port}", known),
        mail_to("implicit", f"smtps://localhost:{boxes['implicit'].port}", known),
        sieve=f'[providers.sieve]\nbase_url = "{sieve.url}"\napi_key = "{SECRETS["sieve key"]}"\n{known}'
              'poll = { first = "100ms", growth = 1.2, max = "500ms", deadline = "60s" }\n',
        hook=f'[destinations.hook]\nkind = "webhook"\nurl = "{hook.url}/in"\n{RETRY}{known}',
        slack=f'[destinations.slack]\nkind = "slack"\nwebhook_url = "{slack.url}/services/x"\n{FAST}{known}',
        bot=f'[destinations.bot]\nkind = "slack"\nbot_token = "{SECRETS["bot token"]}"\nchannel = "C0SECOPS"\n'
            f'api_url = "{slack.url}/api"\n{FAST}{known}',
        mail="", routes=EVERYWHERE)
    world.binary.run("check", "--online", "--config", daemon.config).must(0)
    daemon.start()
    scan_id = sieve.scan(fileName="over-tls.pdf", **THREAT)
    daemon.api.post("/v1/requests", scan_id).must(202)
    eventually("the webhook", lambda: hook.of_scan(scan_id))
    eventually("both Slack messages", lambda: len(slack.mentioning("over-tls.pdf")) == 2)
    for box in boxes.values():
        eventually("the mail", lambda box=box: box.mentioning("over-tls.pdf"))
    for server in (sieve, hook, slack):
        equal({request.peer for request in server.received()}, {"scanbell"}, "who called")
    daemon.stop()
    for server in (sieve, hook, slack, *boxes.values()):
        server.close()


class Silent:
    """Takes connections and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        """Stops listening."""
        self._socket.close()


#: What is wrong with a server, and the words that name the fact and the way out.
TROUBLE: Dict[str, List[str]] = {
    "stranger": ["UnknownIssuer", "`ca_file`"],
    "misnamed": ["elsewhere.example", "name in the URL"],
    "expired": ["expired", "renew"],
    "nameless": ["client certificate", "`cert_file` and `key_file`"],
    "plain": ["no TLS is spoken there", "scheme of the URL"],
    "silent": ["no connection"],
}


def troubled(authority: Authority) -> Dict[str, Any]:
    """One server for each trouble."""
    def server(context: Any) -> HttpServer:
        made = HttpServer(lambda _: Answer(200, b"ok"))
        if context is not None:
            made.encrypt(context)
        return made

    stranger = HookReceiver()  # vouched for by a CA that nobody names
    return {
        "stranger": stranger,
        "misnamed": server(authority.server("elsewhere.example", demands_ours=False)),
        "expired": server(authority.server("localhost", demands_ours=False, expired=True)),
        "nameless": server(authority.server("localhost")),
        "plain": server(None),
        "silent": Silent(),
    }


@case("TLS: every server that cannot be trusted is refused; place, fact and way out are said, and nothing hangs", alone=True)
def refused(world: World) -> None:
    authority, other = Authority(world.folder, "refused"), Authority(world.folder, "other")
    servers = troubled(authority)
    servers["stranger"].encrypt(other.server("localhost", demands_ours=False))
    url = {name: server.url.replace("http://127.0.0.1", "https://localhost") for name, server in servers.items()}
    hooks = [f'[destinations.{name}]\nkind = "webhook"\nurl = "{url[name]}/{SECRETS["hook path"]}"\n{RETRY}'
             f'{authority.trusted()}' for name in servers]
    box = Mailbox(world.folder, "scanbell", SECRETS["smtp password"], other.server("localhost", demands_ours=False))
    provider = (f'[providers.stranger]\nprofile = "sieve"\nbase_url = "{url["stranger"]}"\napi_key = "k"\n'
                f'{authority.trusted()}')
    mail = mail_to("post", f"smtp://localhost:{box.port}", authority.trusted())
    _, daemon = world.new_daemon("untrusted", *hooks, provider, mail,
                                 routes='[[routes]]\nname = "all"\nto = %s\n' % json.dumps([*servers, "post"]))
    started = time.monotonic()
    said = world.binary.run("check", "--online", "--config", daemon.config).must(69).out
    holds(time.monotonic() - started < 40, "a server that never speaks held the check up")
    for name, words in {**TROUBLE, "post": ["`ca_file`"], "provider stranger": ["`ca_file`"]}.items():
        lines = [line for line in said.splitlines() if f"{name}:" in line and line.startswith("FAIL")]
        holds(lines and all(word in lines[-1] for word in words), f"{name}: {short(said, 3000)}")
    daemon.start()
    daemon.api.post("/v1/requests", world.sieve.scan()).must(202)
    for name, words in {**TROUBLE, "post": ["`ca_file`"]}.items():
        # An alert that comes with the end of the connection may be lost; not each time.
        attempt = eventually(f"an attempt at {name} that says {words}", lambda name=name, words=words: next(
            (made for made in attempts_at(daemon.api, name) if all(word in made["answer"] for word in words)), None))
        found = (attempt["verdict"], attempt["reason"])
        equal(found, ("retry", "connect" if name == "silent" else "tls"), f"verdict and reason at {name}")
    equal(servers["stranger"].received(), [], "requests to a stranger")
    daemon.stop()
    for server in (*servers.values(), box):
        server.close()


def attempts_at(api: Any, destination: str) -> List[Dict[str, Any]]:
    """The attempts of the only delivery to a destination."""
    rows = api.items("/v1/deliveries", destination=destination)
    found: List[Dict[str, Any]] = api.get(f"/v1/deliveries/{rows[0]['id']}").json()["attempts"] if rows else []
    return found
