import base64

from odoo.tests import tagged

from odoo.addons.aigen_image.tests.common import AigenCase, payload, picture


@tagged("post_install", "-at_install")
class TestContacts(AigenCase):
    def test_a_picture_is_made_for_a_contact_and_used_there(self):
        self.env.ref("base.group_partner_manager")._aigen_add_users(self.ann.ids)
        partner = self.env["res.partner"].create({"name": "Harbour Lights", "city": "Bergen"}).with_user(self.ann)
        context = partner.action_make_picture()["context"]
        self.assertEqual(
            context["default_prompt"],
            "A friendly, simple illustration that stands for Harbour Lights, Bergen, no text",
        )
        record = self.underway(target_model="res.partner", target_id=partner.id)
        self.apply(payload(record))
        record.action_use()
        self.assertEqual(base64.b64decode(partner.with_context(bin_size=False).image_1920), picture())
        record.action_undo_use()
        self.assertFalse(partner.image_1920)

    def test_the_buttons_are_for_people_who_ask_for_pictures(self):
        for user, is_shown in ((self.ann, True), (self.stranger, False)):
            view = self.env["res.partner"].with_user(user).get_view(self.env.ref("base.view_partner_form").id, "form")
            self.assertEqual("action_make_picture" in view["arch"], is_shown)
