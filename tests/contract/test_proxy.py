"""The configurations in deploy/proxy, as the real nginx reads them. Skipped where nginx is not installed."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from proxy import Nginx, bridge_behind_nginx, compose_proxy, odoo_behind_nginx, refused

MEBIBYTE = 2**20
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


class _Echo(BaseHTTPRequestHandler):
    """An Odoo that answers with the port at which it was asked and the headers that it got."""

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        while length:
            length -= len(self.rfile.read(min(length, MEBIBYTE)))
        content = json.dumps({"port": self.server.server_port, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Set-Cookie", "session_id=s; Path=/; HttpOnly")
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_args: object) -> None:
        """Quiet."""


@contextmanager
def _echo() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:  # or the thread would poll a closed descriptor, and steal connections once its number is reused
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nginx, int, int]]:
    """nginx, and the ports of pages and websockets behind it."""
    with ExitStack() as running:
        pages, websockets = running.enter_context(_echo()), running.enter_context(_echo())
        folder = tmp_path_factory.mktemp("nginx")
        nginx = running.enter_context(odoo_behind_nginx(folder, http_port=pages, websocket_port=websockets))
        yield nginx, pages, websockets


def test_nginx_accepts_the_files_for_the_bridge_and_for_odoo_together(tmp_path: Path):
    assert refused(tmp_path, "nginx.conf", "odoo.conf") == ""


@pytest.mark.parametrize("path", ["/odoo", "/websocket?version=18", "/json/2/x"])
def test_only_websockets_go_to_the_evented_port_and_all_carry_the_browsers_host(
    proxied: tuple[Nginx, int, int], path: str
):
    nginx, pages, websockets = proxied
    evented = path.startswith("/websocket")
    got = httpx.get(nginx.url + path, headers=UPGRADE if evented else {}, verify=nginx.trust).json()
    host = nginx.url.removeprefix("https://")
    assert got["port"] == (websockets if evented else pages)
    told = {name: got["headers"].get(name) for name in ("Host", "X-Forwarded-Host", "X-Forwarded-Proto", "Upgrade")}
    assert told == {
        "Host": host,
        "X-Forwarded-Host": host,
        "X-Forwarded-Proto": "https",
        "Upgrade": "websocket" if evented else None,
    }


def test_what_a_browser_says_about_itself_is_not_believed(proxied: tuple[Nginx, int, int]):
    nginx, *_ = proxied
    forged = {"X-Forwarded-For": "10.9.8.7", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"}
    told = httpx.get(nginx.url, headers=forged, verify=nginx.trust).json()["headers"]
    assert (told["X-Forwarded-For"], told["X-Forwarded-Proto"]) == ("127.0.0.1", "https")
    assert told["X-Forwarded-Host"] == nginx.url.removeprefix("https://")


def test_an_image_of_32_mib_as_base64_gets_through_and_the_session_travels_by_tls_only(
    proxied: tuple[Nginx, int, int],
):
    nginx, *_ = proxied
    answer = httpx.post(f"{nginx.url}/jsonrpc", content=bytes(43 * MEBIBYTE), verify=nginx.trust, timeout=30)
    assert answer.status_code == 200
    assert {"secure", "samesite=lax"} <= {part.strip().lower() for part in answer.headers["Set-Cookie"].split(";")}


# ---- the bridge behind nginx


def test_the_console_and_what_else_is_for_operators_stays_inside(tmp_path: Path):
    with _echo() as api, bridge_behind_nginx(tmp_path, api_port=api) as nginx:
        inside = ("/console", "/console/", "/console/sign-in", "/Console", "//console", "/metrics", "/docs")
        answers = {path: httpx.get(nginx.url + path, verify=nginx.trust).status_code for path in inside}
        assert answers == dict.fromkeys(inside, 404)
        assert httpx.get(f"{nginx.url}/api/v1/x", verify=nginx.trust).json()["port"] == api


@pytest.mark.parametrize(("operators", "status"), [("127.0.0.0/8", 200), ("192.0.2.0/24", 403)])
def test_the_console_can_be_passed_on_to_the_network_of_the_operators(tmp_path: Path, operators: str, status: int):
    with _echo() as api, bridge_behind_nginx(tmp_path, api_port=api, operators=operators) as nginx:
        path = f"{nginx.url}/console/requests/x/complete"
        answer = httpx.post(path, content=bytes(32 * MEBIBYTE + 2048), verify=nginx.trust, timeout=30)
        assert answer.status_code == status
        if status == 200:
            told = answer.json()["headers"]
            assert (told["Host"], told["X-Forwarded-Proto"]) == (nginx.url.removeprefix("https://"), "https")


# ---- the service `proxy` of docker-compose.yml


@pytest.fixture(scope="module")
def in_compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, dict[str, int]]]:
    """The addresses of the bridge and of Odoo on this machine, and the ports of what is behind them."""
    with ExitStack() as running:
        ports = {name: running.enter_context(_echo()) for name in ("api:8000", "odoo:8069", "odoo:8072")}
        bridge, odoo = running.enter_context(compose_proxy(tmp_path_factory.mktemp("compose"), ports))
        yield bridge, odoo, ports


def test_the_ports_of_the_machine_lead_to_the_bridge_to_odoo_and_to_its_websockets(
    in_compose: tuple[str, str, dict[str, int]],
):
    bridge, odoo, ports = in_compose
    asked = [httpx.get(bridge + "/health/ready"), httpx.get(odoo + "/odoo"), httpx.get(odoo + "/websocket?version=18")]
    assert [answer.json()["port"] for answer in asked] == list(ports.values())


def test_odoo_hears_the_host_of_the_browser_also_from_a_proxy_with_tls_in_front(
    in_compose: tuple[str, str, dict[str, int]],
):
    _, odoo, _ = in_compose
    names = ("Host", "X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "Upgrade")
    direct = httpx.get(odoo + "/websocket", headers=UPGRADE).json()["headers"]
    host = odoo.removeprefix("http://")
    assert [direct[name] for name in names] == [host, host, "127.0.0.1", "http", "websocket"]
    outside = {"X-Forwarded-Host": "odoo.example.com", "X-Forwarded-For": "10.9.8.7", "X-Forwarded-Proto": "https"}
    behind = httpx.get(odoo, headers={"Host": "odoo.example.com"} | outside).json()["headers"]
    assert [behind.get(name) for name in names] == ["odoo.example.com", *outside.values(), None]


def test_images_of_32_mib_get_through_to_both(in_compose: tuple[str, str, dict[str, int]]):
    bridge, odoo, _ = in_compose
    body = bytes(43 * MEBIBYTE)
    answers = [httpx.post(f"{url}/x", content=body, timeout=30) for url in (bridge, odoo)]
    assert [answer.status_code for answer in answers] == [200, 200]
