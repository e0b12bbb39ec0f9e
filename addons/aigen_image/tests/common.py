"""A bridge on a real socket that says what a test tells it, and the people of the tests."""

import base64
import hashlib
import io
import json
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl

from PIL import Image

from odoo.tests import TransactionCase, new_test_user

from ..bridge import client

CORRELATION = "11111111-1111-4111-8111-111111111111"


def picture(colour="teal", width=64, height=48, name="PNG"):
    """The bytes of a true image."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, name)
    return file.getvalue()


def described(content, **changes):
    """An image as the bridge describes it."""
    with Image.open(io.BytesIO(content)) as image:
        found = {"format": image.format.lower(), "width": image.width, "height": image.height}
    return found | {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} | changes


def payload(record, version=3, status="completed", content=None, **changes):
    """What the bridge sends to `bridge_apply_result`."""
    told = {"requestId": record.request_id, "version": version, "status": status}
    if status == "completed":
        content = content or picture()
        told["image"] = described(content) | {"data": base64.b64encode(content).decode()}
    return told | changes


class FakeBridge(ThreadingHTTPServer):
    """Answers by `answers[(method, path)]` → (status, body, headers); keeps what it was asked.

    Status and body may be functions of what was sent.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = {("GET", client.REQUESTS): (422, {}, {"X-Correlation-ID": CORRELATION})}  # as an older bridge
        self.calls = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def close(self):
        self.shutdown()
        self.server_close()

    def say(self, method, path, status=200, body=None, **headers):
        self.answers[method, path] = (status, body or {}, {"X-Correlation-ID": CORRELATION} | headers)

    def takes_requests(self, status=202, **changes):
        """Accept what is sent, as the bridge does."""

        def accept(event):
            return {"requestId": event["requestId"], "status": "queued", "version": 1} | changes

        self.say("POST", client.REQUESTS, status, accept)

    def holds(self, *resources):
        """Know these requests, and answer when it is asked about many with one call."""
        by_id = {resource["requestId"]: resource for resource in resources}

        def page(query):
            return {"items": [by_id[one] for one in query["ids"].split(",") if one in by_id], "nextCursor": None}

        self.say("GET", client.REQUESTS, 200, page)

    def sent(self, method="POST", path=client.REQUESTS):
        """The bodies of these calls, or their queries."""
        return [body for verb, where, body, _headers in self.calls if (verb, where) == (method, path)]


class _Handler(BaseHTTPRequestHandler):
    def _answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path, _, query = self.path.partition("?")
        body = dict(parse_qsl(query)) | (body or {})
        self.server.calls.append((self.command, path, body, dict(self.headers)))
        missing = (404, {"code": "unknown_request"}, {"X-Correlation-ID": CORRELATION})
        status, told, headers = self.server.answers.get((self.command, path), missing)
        status, told = (one(body) if callable(one) else one for one in (status, told))
        content = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(told, bytes) else "application/json"
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - so they are called

    def log_message(self, *_args):
        """Quiet."""


class OneTimeout:
    """For test cases: since May 2025 Odoo expects the timeout of an HTTP call to be a number; ours is a pair."""

    @classmethod
    def _request_handler(cls, session, request, /, **how):
        if isinstance(how.get("timeout"), tuple):
            how["timeout"] = sum(how["timeout"])
        return super()._request_handler(session, request, **how)


class AigenCase(OneTimeout, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        groups = {"ann": "group_user", "bob": "group_user", "mia": "group_manager"}
        for name, group in groups.items():
            setattr(cls, name, new_test_user(cls.env, f"aigen_{name}", groups=f"base.group_user,aigen_image.{group}"))
        cls.stranger = new_test_user(cls.env, "aigen_stranger", groups="base.group_user")
        cls.robot = cls.env.ref("aigen_image.user_bridge")
        cls.model = cls.env["aigen.image.model"].create({"name": "Photo", "steps": 28, "cfg": 3.5})

    def setUp(self):
        super().setUp()
        self.bridge = FakeBridge()
        self.enterContext(closing(self.bridge))
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("aigen_image.bridge_url", self.bridge.url)
        parameters.set_param("aigen_image.bridge_key", "key-of-odoo")
        parameters.set_param("aigen_image.approval", False)
        self._share_transaction()

    def _share_transaction(self):
        """Let other cursors see the transaction of the test."""
        if hasattr(self, "registry_enter_test_mode"):  # since Odoo 19
            self.registry_enter_test_mode()
        else:
            self.registry.enter_test_mode(self.cr)
            self.addCleanup(self.registry.leave_test_mode)

    def draft(self, user=None, **values):
        """A new request of that person."""
        vals = {"prompt": "A lighthouse at dusk", "model_id": self.model.id} | values
        return self.env["aigen.image.request"].with_user(user or self.ann).create(vals)

    def commit(self):
        """What a commit sets going; the test's own transaction stays open."""
        self.env.cr.flush()
        self.env.cr.postcommit.run()
        self.env.invalidate_all()

    def underway(self, **values):
        """A request that the bridge has taken."""
        self.bridge.takes_requests()
        record = self.draft(**values)
        record.action_generate()
        self.commit()
        self.assertEqual(record.status, "queued")
        return record

    def apply(self, told):
        """Report a result as the bridge does."""
        return self.env["aigen.image.request"].with_user(self.robot).bridge_apply_result(told)

    def toasts(self):
        """The messages that people are shown from now on: (user, words, kind)."""
        shown = []

        def keep(_self, user, message, kind="info"):
            shown.append((user, message, kind))

        self.patch(self.registry["aigen.image.request"], "_tell_person", keep)
        return shown

    def assertBus(self, record):
        """The news that the person's browser gets."""
        return _Bus(self, record)


class _Bus:
    def __init__(self, case, record):
        self.case, self.record, self.sent = case, record, []

    def __enter__(self):
        sent, users = self.sent, self.case.env.registry["res.users"]

        def keep(user, kind, message, **_more):
            if kind == "aigen_image.request/update" and user == self.record.user_id:
                sent.append(message)

        self.case.patch(users, "_bus_send", keep)
        return sent

    def __exit__(self, *_error):
        return None
