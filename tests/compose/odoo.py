"""A person in Odoo who asks for pictures: over JSON-RPC, as a program does that has no browser."""

import base64
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

URL = "http://127.0.0.1:8069"
PATIENCE = 240.0
"""Seconds until a picture must be there. After a fault it includes the bridge's silence and its tries."""


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
    uid: int = 0

    def log_in(self) -> None:
        """Logs in, as everybody must do before anything else."""
        self.uid = self._rpc("common", "login", "odoo", "admin", self.password)
        assert self.uid, "Odoo does not accept the password in secrets/odoo_admin_password"

    def call(self, model: str, method: str, *args: Any) -> Any:
        """Returns the result of a method of a model."""
        return self._rpc("object", "execute_kw", "odoo", self.uid, self.password, model, method, list(args))

    def read(self, model: str, record: int, *names: str) -> dict[str, Any]:
        """Returns these fields of a record."""
        [found] = self.call(model, "read", [record], list(names))
        return dict(found)

    def settings(self, url: str, key: str, ops_key: str) -> None:
        """Saves the bridge's address and keys, as the page *Settings > AI Images* does."""
        values = {"aigen_bridge_url": url, "aigen_bridge_key": key, "aigen_bridge_ops_key": ops_key}
        page = self.call("res.config.settings", "create", values)
        self.call("res.config.settings", "execute", [page])

    def ask(self, prompt: str) -> Asked:
        """Asks for a picture and presses *Generate*."""
        record = self.call("aigen.image.request", "create", {"prompt": prompt, "shape": "4:3"})
        self.call("aigen.image.request", "action_generate", [record])
        names = self.read("aigen.image.request", record, "request_id", "correlation_id")
        return Asked(record, names["request_id"], names["correlation_id"])

    def until(self, asked: Asked, status: str, seconds: float = PATIENCE) -> None:
        """Waits until the record has this status."""
        deadline = time.monotonic() + seconds
        while (found := self._status(asked))["status"] != status:
            assert found["status"] != "failed", found
            assert time.monotonic() < deadline, f"not {status} within {seconds:g} s, but {found}"
            time.sleep(1)

    def picture(self, asked: Asked) -> bytes:
        """Waits for the picture and returns the file that is attached."""
        self.until(asked, "completed")
        attached = self.read("aigen.image.request", asked.record, "attachment_id")["attachment_id"]
        assert attached, f"{asked} is completed and has no picture"
        return base64.b64decode(self.read("ir.attachment", attached[0], "datas")["datas"])

    def _status(self, asked: Asked) -> dict[str, Any]:
        return self.read("aigen.image.request", asked.record, "status", "error_code", "error_message")

    def _rpc(self, service: str, method: str, *args: Any) -> Any:
        params = {"service": service, "method": method, "args": args}
        body = {"jsonrpc": "2.0", "method": "call", "params": params, "id": 1}
        answer = httpx.post(f"{URL}/jsonrpc", json=body, timeout=60, trust_env=False).raise_for_status().json()
        assert "error" not in answer, answer["error"]
        return answer["result"]
