"""Writers meet at one record, in a real Odoo: none disturbs the other."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread

import httpx

from real_odoo import DATABASE

ROUNDS = 12
MODEL = "aigen.image.request"
versions = count(1)


class _Restless(BaseHTTPRequestHandler):
    """A bridge that has news whenever it is asked: each question writes the record."""

    def do_GET(self):
        path, _, last = self.path.rpartition("/")
        version = next(versions)
        told = {"requestId": last, "status": "dispatched", "version": version}
        if last == "timeline":
            told = {"entries": [{"kind": "state", "status": "dispatched", "version": version}]}
        content = json.dumps(told).encode()
        self.send_response(200)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), "X-Correlation-ID": path}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args):
        """Quiet."""


@contextmanager
def restless_bridge() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Restless) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def browser_of(url: str, login: str) -> httpx.Client:
    """A session as a browser has one: its calls cost no login."""
    client = httpx.Client(base_url=url, timeout=60)
    params = {"db": DATABASE, "login": login, "password": login}
    client.post("/web/session/authenticate", json={"params": params}).raise_for_status()
    return client


def test_a_form_that_asks_and_a_delivery_meet_without_a_conflict(real_odoo, configure):
    ann = browser_of(real_odoo.url, "ann")
    uid = real_odoo.rpc("common", "login", DATABASE, "aigen-bridge", real_odoo.key)["result"]

    def call(method, *args):
        params = {"model": MODEL, "method": method, "args": args, "kwargs": {}}
        return ann.post("/web/dataset/call_kw", json={"params": params}).json()

    [model] = real_odoo.as_person("ann", "aigen.image.model", "search", [], 0, 1)
    record = call("create", {"prompt": "A meeting", "model_id": model})["result"]
    request_id = call("read", [record], ["request_id"])["result"][0]["request_id"]

    def deliver():
        told = {"requestId": request_id, "version": next(versions), "status": "dispatched"}
        arguments = (DATABASE, uid, real_odoo.key, MODEL, "bridge_apply_result", [told])
        return real_odoo.rpc("object", "execute_kw", *arguments)

    with restless_bridge() as url, ThreadPoolExecutor(4) as people:
        configure(url)
        deliver()
        before = real_odoo.log.stat().st_size
        meetings = [
            people.submit(each) for _ in range(ROUNDS) for each in (lambda: call("action_follow", [record]), deliver)
        ]
        answers = [meeting.result(120) for meeting in meetings]

    said = real_odoo.log.read_bytes()[before:].decode()
    assert [answer for answer in answers if "error" in answer] == []
    conflicts = re.findall(r"bad query: (.*)\nERROR: could not serialize", said)
    assert [query for query in conflicts if "aigen" in query] == []
    assert call("read", [record], ["status", "version"])["result"][0]["status"] == "dispatched"


OTHER_CODE = """
import signal
signal.alarm(60)  # ends the process
requests = env["aigen.image.request"]
record = requests.create({"prompt": "Of other code", "model_id": env["aigen.image.model"].search([], limit=1).id})
env.cr.commit()
record.prompt = "Changed meanwhile"
told = {"requestId": record.request_id, "version": 1, "status": "dispatched"}
answer = requests.with_user(env.ref("aigen_image.user_bridge")).bridge_apply_result(told)
print("TOLD", answer["applied"], record.status, record.prompt)
env.cr.rollback()
record.invalidate_recordset()
print("UNDONE", record.status)
"""


def test_other_code_that_writes_a_record_and_reports_its_result_does_not_wait_for_itself(real_odoo):
    said = real_odoo.shell(OTHER_CODE)
    assert "TOLD True dispatched Changed meanwhile" in said
    assert "UNDONE draft" in said
