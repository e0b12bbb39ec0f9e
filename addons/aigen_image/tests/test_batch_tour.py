from contextlib import closing
from unittest.mock import patch

from odoo.tests import HttpCase, new_test_user, tagged

from ..bridge import client
from ..models.aigen_bridge import AigenBridge
from .common import FakeBridge, OneTimeout, described, picture
from .test_tour import at_once


@tagged("post_install", "-at_install")
class TestBatchTour(OneTimeout, HttpCase):
    """A person asks for several pictures in the browser."""

    def setUp(self):
        super().setUp()
        self.bridge = self.enterContext(closing(FakeBridge()))
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("aigen_image.bridge_url", self.bridge.url)
        parameters.set_param("aigen_image.bridge_key", "key-of-odoo")
        self.env["aigen.image.model"].search([]).active = False
        price = {"amount": "0.035", "currency": "USD", "per": "image"}
        self.env["aigen.image.model"].create({"name": "Photo", "offer": {"price": price}})
        new_test_user(self.env, "aigen_ann", groups="base.group_user,aigen_image.group_user")

    def make(self, failing=()):
        """Take each request, and have its picture ready at once; of these numbers it failed."""
        content, seen = picture(), []

        def take(event):
            seen.append(event)
            taken = {"requestId": event["requestId"], "status": "queued", "version": 1}
            ready = {"status": "completed", "image": described(content)}
            failed = {"status": "failed", "errorCode": "dispatch_failed", "errorMessage": ""}
            place = f"{client.REQUESTS}/{event['requestId']}"
            self.bridge.say("GET", place, 200, taken | {"version": 3} | (failed if len(seen) in failing else ready))
            self.bridge.say("GET", f"{place}/image", 200, content)
            return taken

        self.bridge.say("POST", client.REQUESTS, 202, take)

    def tour(self, name):
        with patch.object(AigenBridge, "_after_commit", at_once):
            self.start_tour("/odoo/ai-images", name, login="aigen_ann")

    def test_four_variants_and_one_is_chosen(self):
        self.make(failing=[3])
        self.tour("aigen_image_variants_tour")
        self.assertEqual(len(self.bridge.sent()), 5)

    def test_a_matrix(self):
        self.make()
        self.tour("aigen_image_matrix_tour")
        self.assertEqual([event["prompt"] for event in self.bridge.sent()], ["A red boat", "A blue boat"])
