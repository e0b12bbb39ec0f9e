"""Where a server listens, and what is said when it cannot."""

import asyncio
import json
import socket
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from aigen_bridge.api.connection import Loop
from aigen_bridge.local import local_clients
from aigen_bridge.metrics.port import PortRules, metrics_port
from aigen_bridge.settings import WrongSettingsError
from aigen_bridge.sockets import bind, local_url

RULES = PortRules(patience=timedelta(seconds=9))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("[::1]", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 - only for a moment
        ("localhost", "http://localhost:80"),
    ],
)
def test_a_server_says_a_url_at_which_it_is_reached(host: str, url: str) -> None:
    assert local_url(host, 80) == url
    with bind(host, 0) as sock:
        sock.listen()
        port = sock.getsockname()[1]
        reached = local_url(host, port).removeprefix("http://").removesuffix(f":{port}").strip("[]")
        socket.create_connection((reached, port), timeout=5).close()


def test_all_addresses_include_those_of_ipv4() -> None:
    loop = Loop()
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, host="::", port=0))
    port = server.sockets[0].getsockname()[1]
    try:
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=5).close()
    finally:
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", "Cannot listen on 127.0.0.1:{port}: another program does"),
        ("[::1]", "Cannot listen on [::1]:{port}: another program does"),
        ("no-such-name.invalid", "Cannot listen on no-such-name.invalid:{port} ("),
        ("203.0.113.7", "Cannot listen on 203.0.113.7:{port} ("),
        ("a" * 64 + ".example", "which is not a host name"),
    ],
)
def test_why_it_cannot_listen_is_said_with_its_address(host: str, said: str) -> None:
    with bind("::", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="Cannot listen on") as caught:
            bind(host, port)
    assert said.format(port=port) in str(caught.value)


def test_a_worker_shows_its_metrics_over_ipv6_and_names_the_setting_of_a_port_that_is_taken() -> None:
    with metrics_port("::1", 0, RULES) as url:
        assert url.startswith("http://[::1]:")
        assert httpx.get(url, trust_env=False, verify=False).status_code == 200
        with pytest.raises(OSError, match=r"^AIGEN_WORKER__METRICS_PORT: Cannot listen on \[::1\]:"):
            metrics_port("::1", int(url.split(":")[-1].split("/")[0]), RULES).__enter__()


def test_a_broken_file_of_keys_is_named(tmp_path: Path) -> None:
    (tmp_path / "clients.json").write_text('{"odoo": ')
    with pytest.raises(WrongSettingsError, match="is not valid JSON"):
        local_clients(tmp_path)
    (tmp_path / "clients.json").unlink()
    assert json.loads(local_clients(tmp_path)[1].read_text())["odoo"]
