from contextlib import closing
from unittest.mock import patch

from odoo.tests import HttpCase, new_test_user, tagged

from odoo.addons.aigen_image.bridge import client
from odoo.addons.aigen_image.models.aigen_bridge import AigenBridge
from odoo.addons.aigen_image.tests.common import FakeBridge, OneTimeout, described, picture
from odoo.addons.aigen_image.tests.test_tour import at_once


@tagged("post_install", "-at_install")
class TestTour(OneTimeout, HttpCase):
    def setUp(self):
        super().setUp()
        self.bridge = self.enterContext(closing(FakeBridge()))
        self.bridge.say("POST", client.REQUESTS, 202, self.take)
        parameters = {"bridge_url": self.bridge.url, "bridge_key": "key-of-odoo", "approval": "True"}
        for name, value in parameters.items():
            self.env["ir.config_parameter"].set_param(f"aigen_image.{name}", value)
        self.env["aigen.image.model"].search([]).active = False
        self.env["aigen.image.model"].create({"name": "Photo"})
        groups = "base.group_user,aigen_image.group_user,product.group_product_manager"
        new_test_user(self.env, "aigen_ann", groups=groups)
        new_test_user(self.env, "aigen_eve", groups="base.group_user,aigen_image.group_approver")
        self.lamp = self.env["product.template"].create({"name": "Desk lamp"})

    def take(self, event):
        """Make the picture at once."""
        place, content = f"{client.REQUESTS}/{event['requestId']}", picture(width=1024, height=1024)
        taken = {"requestId": event["requestId"], "status": "queued", "version": 1}
        ready = taken | {"status": "completed", "version": 3, "image": described(content)}
        self.bridge.say("GET", place, 200, ready)
        self.bridge.say("GET", f"{place}/image", 200, content)
        return taken

    def test_a_products_picture_is_made_approved_used_and_taken_back(self):
        place = f"/odoo/product.template/{self.lamp.id}"
        with patch.object(AigenBridge, "_after_commit", at_once):
            self.start_tour(place, "aigen_image_product_ask", login="aigen_ann")
        self.assertFalse(self.lamp.image_1920)
        self.start_tour("/odoo/ai-images-to-approve", "aigen_image_product_approve", login="aigen_eve")
        self.lamp.invalidate_recordset()
        self.assertTrue(self.lamp.image_1920)
        self.start_tour(place, "aigen_image_product_undo", login="aigen_ann")
        self.lamp.invalidate_recordset()
        self.assertTrue(self.lamp.image_1920)
