import json

from odoo import release
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from .common import payload


@tagged("post_install", "-at_install")
class TestHttp(HttpCase):
    """As the bridge calls: JSON-RPC over a socket, with an API key."""

    def setUp(self):
        super().setUp()
        self.robot = self.env.ref("aigen_image.user_bridge")
        self.key = self.env["res.users.apikeys"].with_user(self.robot).sudo()._generate("rpc", "test", None)
        self.ann = new_test_user(self.env, "aigen_ann", groups="base.group_user,aigen_image.group_user")
        model = self.env["aigen.image.model"].create({"name": "Photo"})
        values = {"prompt": "A lighthouse", "model_id": model.id}
        self.record = self.env["aigen.image.request"].with_user(self.ann).create(values)

    def rpc(self, service, method, *args):
        params = {"service": service, "method": method, "args": args}
        body = {"jsonrpc": "2.0", "method": "call", "params": params, "id": 1}
        headers = {"Content-Type": "application/json"}
        answer = self.url_open("/jsonrpc", data=json.dumps(body), headers=headers)
        self.assertEqual(answer.status_code, 200)
        return answer.json()

    def call(self, key, *args):
        return self.rpc("object", "execute_kw", self.env.cr.dbname, self.robot.id, key, *args)

    def test_the_bridge_logs_in_with_its_key_and_reports_a_picture(self):
        uid = self.rpc("common", "login", self.env.cr.dbname, "aigen-bridge", self.key)["result"]
        self.assertEqual(uid, self.robot.id)
        told = payload(self.record)
        answer = self.call(self.key, "aigen.image.request", "bridge_apply_result", [told])["result"]
        self.env.invalidate_all()
        self.assertEqual(answer["attachmentId"], self.record.attachment_id.id)
        self.assertIs(answer["applied"], True)

    def json2(self, key, method, **arguments):
        headers = {"Content-Type": "application/json", "Authorization": f"bearer {key}"}
        path = f"/json/2/aigen.image.request/{method}"
        return self.url_open(path, data=json.dumps(arguments), headers=headers)

    @mute_logger("odoo.http", "odoo.addons.rpc.controllers.json2")
    def test_the_bridge_reports_a_picture_over_json_2(self):
        if release.version_info[0] < 19:
            self.skipTest("Odoo 18 has no /json/2")
        answer = self.json2(self.key, "bridge_apply_result", payload=payload(self.record))
        self.env.invalidate_all()
        self.assertEqual((answer.status_code, self.record.status), (200, "completed"))
        self.assertEqual(answer.json()["attachmentId"], self.record.attachment_id.id)
        self.assertEqual(self.json2(self.key, "bridge_limits").json()["imageBytes"], 32 * 2**20)
        self.assertEqual(self.json2("wrong", "bridge_limits").status_code, 401)

    @mute_logger("odoo.http", "odoo.addons.base.models.res_users", "odoo.addons.base.models.ir_model")
    def test_without_the_key_nobody_gets_in_and_with_it_only_one_method_is_open(self):
        self.assertIs(self.rpc("common", "login", self.env.cr.dbname, "aigen-bridge", "wrong")["result"], False)
        self.assertFalse(self.rpc("common", "login", self.env.cr.dbname, "aigen-bridge", "").get("result"))
        told = [payload(self.record)]
        denied = self.call("wrong", "aigen.image.request", "bridge_apply_result", told)
        self.assertEqual(denied["error"]["data"]["name"], "odoo.exceptions.AccessDenied")
        for model, method in (("aigen.image.request", "search_read"), ("res.users", "search_read")):
            refused = self.call(self.key, model, method, [[]])
            self.assertEqual(refused["error"]["data"]["name"], "odoo.exceptions.AccessError", (model, method))
        private = self.call(self.key, "aigen.image.request", "_apply", told)
        self.assertEqual(private["error"]["data"]["name"], "odoo.exceptions.AccessError")

    def test_the_picture_is_served_to_whom_it_belongs(self):
        self.env["aigen.image.request"].with_user(self.robot).bridge_apply_result(payload(self.record))
        path = f"/web/image/{self.record.attachment_id.id}"
        self.authenticate("aigen_ann", "aigen_ann")
        self.assertEqual(self.url_open(path).content, self.record.attachment_id.raw)
        new_test_user(self.env, "aigen_bob", groups="base.group_user,aigen_image.group_user")
        self.authenticate("aigen_bob", "aigen_bob")
        self.assertNotEqual(self.url_open(path).content, self.record.attachment_id.raw)
