"""A person in Odoo who asks for pictures: over JSON-RPC, as a program does that has no browser."""

import base64
import http.client
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx

from compose.project import until

HOST = "127.0.0.1:8069"
URL = f"http://{HOST}"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Origin": URL,
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    "Sec-WebSocket-Version": "13",
}
REQUEST = "aigen.image.request"


@dataclass(frozen=True)
class Asked:
    """A picture that was asked for."""

    record: int
    request_id: str
    correlation_id: str


@dataclass
class Odoo:
    """Odoo as `admin` sees it."""

    password: str = field(repr=False)

    def serves(self) -> bool:
        """Returns whether Odoo answers."""
        try:
            return bool(httpx.get(f"{URL}/web/health", timeout=10, trust_env=False).is_success)
        except httpx.HTTPError:
            return False

    def opens_websocket(self) -> bool:
        """Returns whether Odoo opens a websocket for a browser."""
        connection = http.client.HTTPConnection(HOST, timeout=10)
        try:
            connection.request("GET", "/websocket", headers=HANDSHAKE)
            return connection.getresponse().status == httpx.codes.SWITCHING_PROTOCOLS
        finally:
            connection.close()

    def configure(self, url: str, key: str, ops_key: str) -> None:
        """Does what remains to be done in Odoo's pages: the bridge's address and keys, and a model."""
        values = {"aigen_bridge_url": url, "aigen_bridge_key": key, "aigen_bridge_ops_key": ops_key}
        page = self._call("res.config.settings", "create", values)
        self._call("res.config.settings", "execute", [page])
        self._call("aigen.image.model", "create", {"name": "Editorial photo"})

    def connection_test(self) -> str:
        """Presses *Test connection* and returns what it says."""
        shown = self._call("res.config.settings", "aigen_check", "http://api:8000", "", "")
        return str(self._read("aigen.bridge.check", shown["res_id"], "words")["words"])

    def ask(self, prompt: str) -> Asked:
        """Asks for a picture and presses *Generate*."""
        record = self._call(REQUEST, "create", {"prompt": prompt, "shape": "4:3"})
        self._call(REQUEST, "action_generate", [record])
        names = self._read(REQUEST, record, "request_id", "correlation_id")
        return Asked(record, names["request_id"], names["correlation_id"])

    def is_waiting(self, asked: Asked) -> bool:
        """Returns whether the request still has to be sent to the bridge."""
        return bool(self._read(REQUEST, asked.record, "status")["status"] == "waiting")

    def picture(self, asked: Asked) -> bytes:
        """Waits until the picture is ready and returns the file that is attached to the record."""
        until(lambda: self._is_completed(asked), f"{asked} is completed")
        attached = self._read(REQUEST, asked.record, "attachment_id")["attachment_id"]
        assert attached, f"{asked} is completed and has no picture"
        return base64.b64decode(self._read("ir.attachment", attached[0], "datas")["datas"])

    def version_of_the_addon(self) -> str:
        """Returns the version that the tables have."""
        [addon] = self._call("ir.module.module", "search_read", [["name", "=", "aigen_image"]], ["latest_version"])
        return str(addon["latest_version"])

    def _is_completed(self, asked: Asked) -> bool:
        found = self._read(REQUEST, asked.record, "status", "error_code", "error_message")
        assert found["status"] not in {"failed", "cancelled"}, found
        return bool(found["status"] == "completed")

    def _read(self, model: str, record: int, *names: str) -> dict[str, Any]:
        [found] = self._call(model, "read", [record], list(names))
        return {name: found[name] for name in names}

    @cached_property
    def _uid(self) -> int:
        uid = self._rpc("common", "login", "odoo", "admin", self.password)
        assert uid, "Odoo does not accept the password in secrets/odoo_admin_password"
        return int(uid)

    def _call(self, model: str, method: str, *args: Any) -> Any:
        return self._rpc("object", "execute_kw", "odoo", self._uid, self.password, model, method, list(args))

    def _rpc(self, service: str, method: str, *args: Any) -> Any:
        params = {"service": service, "method": method, "args": args}
        body = {"jsonrpc": "2.0", "method": "call", "params": params, "id": 1}
        answer = httpx.post(f"{URL}/jsonrpc", json=body, timeout=60, trust_env=False).raise_for_status().json()
        assert "error" not in answer, answer["error"]
        return answer.get("result")
