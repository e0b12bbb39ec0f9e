from odoo.tests import HttpCase, new_test_user, tagged

from .common import LinkCase


@tagged("post_install", "-at_install")
class TestTour(LinkCase, HttpCase):
    def test_a_person_shares_a_picture_by_link_and_takes_it_back(self):
        self.robot = self.env.ref("aigen_image.user_bridge")
        self.model = self.env["aigen.image.model"].create({"name": "Photo"})
        self.ann = new_test_user(self.env, "aigen_ann", groups="base.group_user,aigen_image.group_user")
        one = self.ready()
        self.start_tour(f"/odoo/ai-images/{one.id}", "aigen_image_link_tour", login="aigen_ann")
        self.assertFalse(one.link_ids)
        words = ("No longer shared by link", "Shared by link until", "Shared by link until")
        for message, expected in zip(one.message_ids, words, strict=False):
            self.assertIn(expected, message.body)
