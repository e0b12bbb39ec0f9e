from contextlib import closing
from unittest.mock import patch

from odoo.tests import HttpCase, new_test_user, tagged

from ..bridge import client
from ..models.aigen_bridge import AigenBridge
from .common import FakeBridge, OneTimeout, described, picture


def at_once(self, errand, **how):
    """In place of `_after_commit`: cursors of tests drop what is to be done after a commit."""
    self.env.flush_all()
    if self:
        getattr(self, errand)(**how)
    self.env.invalidate_all()


@tagged("post_install", "-at_install")
class TestTour(OneTimeout, HttpCase):
    def setUp(self):
        super().setUp()
        bridge = self.bridge = self.enterContext(closing(FakeBridge()))
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("aigen_image.bridge_url", bridge.url)
        parameters.set_param("aigen_image.bridge_key", "key-of-odoo")
        self.env["aigen.image.model"].search([]).active = False
        self.env["aigen.image.model"].create({"name": "Photo", "steps": 28, "cfg": 3.5})
        new_test_user(self.env, "aigen_ann", groups="base.group_user,aigen_image.group_user")
        content = picture(width=1344, height=768)

        def take(event):
            place = f"{client.REQUESTS}/{event['requestId']}"
            taken = {"requestId": event["requestId"], "status": "queued", "version": 1}
            ready = taken | {"status": "completed", "version": 3, "image": described(content)}
            tried = {"kind": "attempt", "step": "dispatch", "number": 1, "outcome": "done", "durationMs": 12.5}
            bridge.say("GET", place, 200, ready)
            bridge.say("GET", f"{place}/image", 200, content)
            bridge.say("GET", f"{place}/timeline", 200, {"entries": [tried]})
            return taken

        bridge.say("POST", client.REQUESTS, 202, take)

    def tour(self, name):
        with patch.object(AigenBridge, "_after_commit", at_once):
            self.start_tour("/odoo", name, login="aigen_ann")

    def test_a_person_asks_watches_sees_and_goes_on(self):
        self.tour("aigen_image_tour")
        self.assertEqual(len(self.bridge.sent()), 1)

    def test_a_preset_with_a_placeholder(self):
        self.tour("aigen_preset_tour")
        words = "A portrait of Ada, studio light"
        self.assertEqual([event["prompt"] for event in self.bridge.sent()], [words, words])
        preset = self.env["aigen.image.preset"].search([("name", "=", "Studio")])
        self.assertEqual((preset.visibility, preset.shape, preset.steps), ("private", "1:1", 28))
