"""A broker of one's own: TLS with certificates on both sides, and a broker whose memory is full."""
from __future__ import annotations

import json
import shutil

from ..authority import Authority
from ..broker import Broker
from ..harness import case, equal, eventually, holds, short
from ..node import Node
from ..world import SECRETS, World

ONLY_HOOK = '[[routes]]\nname = "all"\nto = ["hook"]\n'


def amqp(url: str, broker: Broker, more: str = "") -> str:
    """The table of the configuration."""
    return (f'[amqp]\nurl = "{url}"\nqueue = "{broker.queue}"\n'
            f'dead_letter_queue = "{broker.dead_letter_queue}"\n{more}')


def encrypted_node(world: World, authority: Authority) -> Node:
    """A node whose TLS port wants a certificate of the authority."""
    node = world.nodes.new()
    cert_file, key_file = authority.server_files(node.folder, "localhost")
    ca_file = node.folder / "ca.pem"
    shutil.copy(authority.ca_file, ca_file)
    key_file.chmod(0o644)  # for a test: the node is another user's
    return node.start(
        f"listeners.ssl.1 = 127.0.0.1:{{tls_port}}\nssl_options.cacertfile = {ca_file}\n"
        f"ssl_options.certfile = {cert_file}\nssl_options.keyfile = {key_file}\n"
        "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n")


@case("AMQP: amqps with a private CA and our certificate; a broker without trust or certificate is told clearly; "
      "a memory alarm is reported and survived", alone=True)
def own_broker(world: World) -> None:
    authority = Authority(world.folder, "broker")
    node = encrypted_node(world, authority)
    over_tls(world, node, authority)
    distrust(world, node, authority)
    alarm(world, node)


def over_tls(world: World, node: Node, authority: Authority) -> None:
    """Requests and dead letters, both encrypted, with a certificate."""
    broker = Broker(node.url, "outside.tls")
    url = f"amqps://guest:guest@localhost:{node.tls_port}/%2f"
    _, daemon = world.new_daemon("amqps", amqp=amqp(url, broker, authority.known()), routes=ONLY_HOOK)
    world.binary.run("check", "--online", "--config", daemon.config).must(0)
    daemon.start()
    scan_id = world.sieve.scan()
    broker.publish(scan_id, "{bad")
    eventually("the webhook", lambda: world.hook.of_scan(scan_id))
    eventually("the dead letter", lambda: len(broker.dead_letters()) == 1)
    connections = node.ctl("list_connections", "client_properties", "ssl", "peer_cert_subject")
    ours = [line for line in connections.splitlines() if "scanbell" in line]
    holds(len(ours) >= 2 and all("true" in line and "CN=scanbell" in line for line in ours), short(connections, 2000))
    by_command = world.sieve.scan()
    world.binary.run("submit", by_command, "--amqp", "--config", daemon.config).must(0)
    eventually("what submit sent", lambda: world.hook.of_scan(by_command))
    equal(daemon.stop(), 0, "exit code")


def distrust(world: World, node: Node, authority: Authority) -> None:
    """What is said where trust or certificate are missing, and nothing hangs."""
    stranger = Authority(world.folder, "broker-stranger")
    broker = Broker(node.url, "outside.distrust")
    wrong = {
        "no-ca": ("localhost", "", ["UnknownIssuer", "`ca_file`"]),
        "other-ca": ("localhost", stranger.trusted(), ["UnknownIssuer", "`ca_file`"]),
        "no-cert": ("localhost", authority.trusted(), ["client certificate", "`cert_file` and `key_file`"]),
        "wrong-cert": ("localhost", authority.trusted() + stranger.known().split("\n", 1)[1], ["client certificate"]),
        "wrong-name": ("127.0.0.1", authority.known(), ["localhost", "name in the URL"]),
    }
    for name, (host, files, words) in wrong.items():
        url = f"amqps://guest:{SECRETS['amqp password']}@{host}:{node.tls_port}/%2f"
        _, daemon = world.new_daemon(f"amqps-{name}", amqp=amqp(url, broker, files), routes=ONLY_HOOK)
        if name == "no-ca" and not holds_any_root(world):
            words = ["CA certificates", "ca_file"]
        said = world.binary.run("check", "--online", "--config", daemon.config, within=50).must(69)
        line = next(line for line in said.out.splitlines() if "broker:" in line)
        holds(line.startswith("FAIL") and all(word in line for word in words), f"{name}: {line}")
    plain = world.binary.run("check", "--online", "--config", daemon.config, within=50, env={
        "SCANBELL_AMQP__URL": f"amqps://guest:guest@localhost:{node.port}/%2f"}).must(69)
    holds("no TLS is spoken there" in plain.out, short(plain.out, 2000))
    daemon.start(ready=False)
    eventually("readiness says it", lambda: "name in the URL" in daemon.api.call(
        "GET", "/readyz", token=None).must(503).body.decode())
    holds("name in the URL" in daemon.log(), "the log names it")
    daemon.stop()


def holds_any_root(world: World) -> bool:
    """Whether this machine trusts anybody."""
    del world
    import ssl  # pylint: disable=import-outside-toplevel
    return bool(ssl.create_default_context().get_ca_certs())


def alarm(world: World, node: Node) -> None:
    """The broker's memory is full: it takes nothing, and gives out what it has."""
    broker, daemon = world.new_daemon("alarm", routes=ONLY_HOOK)
    broker.url = node.url
    text = daemon.config.read_text().replace(world.amqp_url, node.url)
    daemon.config.write_text(text)
    daemon.start()
    equal(daemon.api.series("scanbell_amqp_blocked"), [({}, 0.0)], "scanbell_amqp_blocked")
    equal(daemon.stop(), 0, "exit code")
    scan_id = world.sieve.scan()
    broker.publish("{bad", scan_id)
    node.ctl("set_vm_memory_high_watermark", "0.0000001")
    daemon.start(ready=False)
    eventually("good requests are taken all the same", lambda: world.hook.of_scan(scan_id))
    words = eventually("readiness says it", lambda: (
        lambda answer: answer.status == 503 and "memory or disk alarm" in answer.body.decode()
    )(daemon.api.call("GET", "/readyz", token=None)))
    holds(words and "memory or disk alarm" in daemon.log(), "the log says it")
    equal(daemon.api.metric("scanbell_amqp_blocked"), 1.0, "scanbell_amqp_blocked")
    equal(daemon.api.metric("scanbell_amqp_connected"), 1.0, "scanbell_amqp_connected")
    done = world.binary.run("submit", "--amqp", "--config", daemon.config, str(scan_id), within=50).must(69)
    holds("memory or disk alarm" in done.err, f"submit: {short(done.err)}")
    node.ctl("set_vm_memory_high_watermark", "0.6")
    eventually("the refused one is put away", lambda: [letter.body for letter in broker.dead_letters()] == [b"{bad"])
    eventually("ready again", lambda: daemon.api.call("GET", "/readyz", token=None).status == 200)
    equal(daemon.api.metric("scanbell_amqp_blocked"), 0.0, "scanbell_amqp_blocked")
    again = world.sieve.scan()
    broker.publish(json.dumps({"scan_id": again}))
    eventually("it goes on", lambda: world.hook.of_scan(again))
    equal(daemon.stop(), 0, "exit code")
