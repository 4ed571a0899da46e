"""What holds of everything that happened before: these cases run last."""
from __future__ import annotations

from typing import Dict

from ..harness import case, eventually, holds
from ..world import SECRETS, SIGNING_SECRETS, World


@case("nothing hangs: no delivery is pending to a destination that answers", last=True)
def settled(world: World) -> None:
    for name in ("slack", "bot", "mail", "hook", "events"):
        eventually(f"nothing pending to {name}",
                   lambda name=name: not world.api.items("/v1/deliveries", destination=name, state="pending"))


@case("no secret, credential or person in any log, metric or answer", last=True)
def secrets(world: World) -> None:
    seen: Dict[str, str] = {f"log of {daemon.config.stem}": daemon.log() for daemon in world.daemons()}
    for path in ("/metrics", "/v1/destinations", "/v1/providers", "/v1/deliveries?limit=100", "/v1/scans?limit=100",
                 "/readyz"):
        seen[path] = world.api.get(path).must(200).body.decode()
    hidden = {**SECRETS, "signing secret 1": SIGNING_SECRETS[0], "signing secret 2": SIGNING_SECRETS[1]}
    found = [f"{name} in {place}" for place, text in seen.items() for name, secret in hidden.items() if secret in text]
    holds(not found, "; ".join(found))


@case("SIGTERM ends the daemon that did all this with exit code 0", last=True)
def ended(world: World) -> None:
    code = world.daemon.stop()
    holds(code == 0, f"exit code {code}: {world.daemon.last_words()}")
