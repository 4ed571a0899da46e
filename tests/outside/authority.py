"""A certificate authority of this suite: servers that only it vouches for, and a certificate for scanbell."""
from __future__ import annotations

import datetime
import json
import ssl
from pathlib import Path

import trustme


class Authority:
    """A private CA with its files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._authority = trustme.CA(organization_name=f"outside {name}")
        self.ca_file = folder / f"{name}-ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        self.cert_file, self.key_file = folder / f"{name}-client.pem", folder / f"{name}-client.key"
        client = self._authority.issue_cert("scanbell@outside.example", common_name="scanbell")
        client.private_key_pem.write_to_path(str(self.key_file))
        self.cert_file.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))

    def server(self, *names: str, demands_ours: bool = True, expired: bool = False) -> ssl.SSLContext:
        """A server for these names that wants a certificate of this CA, too, unless told otherwise."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        until = datetime.datetime.now() - datetime.timedelta(days=1) if expired else None
        self._authority.issue_cert(*names, not_after=until).configure_cert(context)
        if demands_ours:
            context.verify_mode = ssl.CERT_REQUIRED
            self._authority.configure_trust(context)
        return context

    def caller(self) -> ssl.SSLContext:
        """A client that this CA knows."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(str(self.cert_file), str(self.key_file))
        return context

    def server_files(self, folder: Path, *names: str) -> "tuple[Path, Path]":
        """Certificate and key of a server for these names, in files."""
        issued = self._authority.issue_cert(*names)
        cert_file, key_file = folder / "server.pem", folder / "server.key"
        cert_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key_file))
        return cert_file, key_file

    def trusted(self) -> str:
        """The key of the configuration that trusts this CA."""
        return f"ca_file = {json.dumps(str(self.ca_file))}\n"

    def known(self) -> str:
        """The same with our certificate."""
        files = f"cert_file = {json.dumps(str(self.cert_file))}\nkey_file = {json.dumps(str(self.key_file))}\n"
        return self.trusted() + files
