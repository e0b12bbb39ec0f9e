"""nginx with the configuration of `deploy/proxy`, on loopback. Skips the test where nginx is not installed."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from ports import free_port

SHIPPED = Path(__file__).parents[1] / "deploy" / "proxy"
START_SECONDS = 10
COMMENTED = re.compile(r"^( +)# location /console \{\n(?:\1# .*\n)+?\1# \}\n", re.MULTILINE)
"""The location that administrators uncomment for the console."""
MAIN = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/unused;
    uwsgi_temp_path {folder}/unused;
    scgi_temp_path {folder}/unused;
    {servers}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx, and the context that trusts its certificate."""

    url: str
    trust: ssl.SSLContext


def nginx() -> str:
    """Returns the command. Skips the test when it is not installed."""
    path = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    return path or pytest.skip("nginx is not installed")


@contextmanager
def odoo_behind_nginx(folder: Path, *, http_port: int, websocket_port: int) -> Iterator[Nginx]:
    """Runs nginx with `deploy/proxy/odoo.conf` before an Odoo at these ports of loopback."""
    port = free_port()
    authority = trustme.CA()
    _certificate(folder, authority, "odoo")
    addresses = {":8069": f":{http_port}", ":8072": f":{websocket_port}", "listen 443": f"listen 127.0.0.1:{port}"}
    servers = rendered("odoo.conf", folder, addresses)
    with _running(_config(folder, servers), port):
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        yield Nginx(f"https://localhost:{port}", trust)


@contextmanager
def bridge_behind_nginx(folder: Path, *, api_port: int, operators: str | None = None) -> Iterator[Nginx]:
    """Runs nginx with `deploy/proxy/nginx.conf` before an API at this port of loopback.

    With `operators`, the network of the operators, its `location` for the console is uncommented.
    """
    port = free_port()
    authority = trustme.CA()
    _certificate(folder, authority, "server")
    authority.cert_pem.write_to_path(str(folder / "clients-ca.pem"))
    changes = {"127.0.0.1:8000": f"127.0.0.1:{api_port}", "listen 443": f"listen 127.0.0.1:{port}"}
    if operators:
        block = re.search(
            r"^( +)# location /console \{\n(?:\1# .*\n)+?\1# \}\n", (SHIPPED / "nginx.conf").read_text(), re.MULTILINE
        )
        assert block, "deploy/proxy/nginx.conf has no location for the console to uncomment"
        opened = re.sub(r"^ +# ", "", block[0], flags=re.MULTILINE).replace("10.0.0.0/8", operators)
        changes = {"location / {": f"{opened}location / {{"} | changes
    with _running(_config(folder, rendered("nginx.conf", folder, changes)), port):
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        yield Nginx(f"https://localhost:{port}", trust)


@contextmanager
def compose_proxy(folder: Path, ports: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Runs nginx as compose's service `proxy`, with these ports of loopback as `api:8000`, `odoo:8069` and `odoo:8072`.

    Yields the addresses that this machine has for the bridge and for Odoo.
    """
    bridge, odoo, health = free_port(), free_port(), free_port()
    changes = {" /tmp/": f" {folder}/", "listen 127.0.0.1:8081": f"listen 127.0.0.1:{health}"}
    changes |= {"listen 8000": f"listen 127.0.0.1:{bridge}", "listen 8069": f"listen 127.0.0.1:{odoo}"}
    changes |= {f" {name};": f" 127.0.0.1:{port};" for name, port in ports.items()}
    config = folder / "compose.conf"
    config.write_text(("user root;" if os.geteuid() == 0 else "") + rendered("compose.conf", folder, changes))
    with _running(str(config), odoo):
        yield f"http://127.0.0.1:{bridge}", f"http://127.0.0.1:{odoo}"


def rendered(name: str, folder: Path, changes: Mapping[str, str]) -> str:
    """Returns a shipped file with other addresses, and with its certificates in `folder`. Comments are left out."""
    text = re.sub(r"\s#.*", "", "\n" + (SHIPPED / name).read_text())
    for before, after in changes.items():
        assert before in text, f"deploy/proxy/{name} has no {before}"
        text = text.replace(before, after)
    return text.replace("/etc/nginx/tls", str(folder))


def refused(folder: Path, *names: str) -> str:
    """Returns what nginx does not accept in these shipped files, read together. Empty: it accepts them."""
    authority = trustme.CA()
    for name in ("server", "odoo"):
        _certificate(folder, authority, name)
    authority.cert_pem.write_to_path(str(folder / "clients-ca.pem"))
    config = _config(folder, "".join(rendered(name, folder, {}) for name in names))
    done = subprocess.run([nginx(), "-t", "-q", "-c", config], capture_output=True, text=True, check=False)
    return done.stderr


def _certificate(folder: Path, authority: trustme.CA, name: str) -> None:
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))


def _config(folder: Path, servers: str) -> str:
    path = folder / "main.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    path.write_text(MAIN.format(folder=folder, servers=servers, user=user))
    return str(path)


@contextmanager
def _running(config: str, port: int) -> Iterator[None]:
    process = subprocess.Popen([nginx(), "-c", config], stderr=subprocess.DEVNULL)
    try:
        _until_listening(process, port)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "nginx ended at its start"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nginx does not listen at port {port} after {START_SECONDS} s")
