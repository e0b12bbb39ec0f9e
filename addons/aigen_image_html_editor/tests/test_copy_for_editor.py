from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from odoo.addons.aigen_image.tests.common import AigenCase, payload, picture

PROMPT = "A lighthouse\n<b>at</b> dusk"


@tagged("post_install", "-at_install")
class TestCopyForEditor(AigenCase):
    """What is chosen in the media dialog is copied by the person's own rights."""

    def setUp(self):
        super().setUp()
        self.content = picture(width=2400, height=1600)
        self.picture = self.ready(prompt=PROMPT)

    def ready(self, **values):
        record = self.underway(**values)
        self.apply(payload(record, content=self.content))
        self.env.invalidate_all()
        return record

    def copied(self, user=None, **where):
        [info] = self.picture.with_user(user or self.ann).copy_for_editor(**where)
        return info, self.env["ir.attachment"].browse(info["id"])

    def test_on_a_web_page_visitors_see_the_very_picture_and_its_words(self):
        self.env.ref("base.group_system")._aigen_add_users(self.ann.ids)  # may edit pages
        info, attachment = self.copied(res_model="ir.ui.view", res_id=1)
        self.assertEqual(attachment.raw, self.content)
        self.assertEqual((attachment.public, attachment.res_model, attachment.res_id), (True, "ir.ui.view", 0))
        self.assertEqual(info["description"], "A lighthouse <b>at</b> dusk")
        self.assertTrue(info["image_src"].startswith(f"/web/image/{attachment.id}-"))
        self.assertEqual((info["image_width"], info["image_height"]), (2400, 1600))

    def test_elsewhere_it_belongs_to_the_record_and_is_not_public(self):
        partner = self.env["res.partner"].create({"name": "Somebody"})
        with self.assertRaises(AccessError):
            self.copied(res_model="res.partner", res_id=partner.id)
        self.env.ref("base.group_partner_manager")._aigen_add_users(self.ann.ids)
        _info, attachment = self.copied(res_model="res.partner", res_id=partner.id)
        found = (attachment.public, attachment.res_model, attachment.res_id)
        self.assertEqual(found, (False, "res.partner", partner.id))

    def test_without_a_record_it_is_the_persons_own(self):
        _info, attachment = self.copied()
        self.assertEqual((attachment.public, attachment.res_model, attachment.create_uid), (False, False, self.ann))
        with self.assertRaises(AccessError):
            attachment.with_user(self.bob).read(["raw"])

    def test_choosing_it_again_makes_no_other_copy(self):
        self.assertEqual(self.copied()[1], self.copied()[1])

    def test_nobody_copies_a_picture_that_is_not_shared(self):
        for user in (self.bob, self.stranger):
            with self.assertRaises(AccessError):
                self.copied(user)

    def test_the_copy_stays_when_the_picture_is_deleted(self):
        _info, attachment = self.copied()
        self.picture.sudo().unlink()
        self.assertEqual(attachment.raw, self.content)

    def test_where_pictures_are_approved_only_an_approved_one_is_copied(self):
        self.env["ir.config_parameter"].set_param("aigen_image.approval", "True")
        with self.assertRaisesRegex(UserError, "approved before"):
            self.copied()
        self.picture.with_user(self.mia).action_ask_approval()
        self.assertEqual(self.copied()[1].raw, self.content)

    def test_the_copy_has_the_label_if_labels_are_switched_on(self):
        self.env["ir.config_parameter"].set_param("aigen_image.label", "True")
        attachment = self.copied()[1]
        self.assertEqual(attachment.raw, self.picture._labelled())
        self.assertEqual(self.copied()[1], attachment)
        self.assertEqual(self.picture.attachment_id.raw, self.content)

    def test_a_picture_that_is_not_ready_cannot_be_used(self):
        self.picture = self.underway(prompt="Not yet")
        with self.assertRaises(UserError):
            self.copied()
