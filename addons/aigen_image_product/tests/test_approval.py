import base64

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.aigen_image.tests.common import picture

from .common import ProductCase

QUIET = ("odoo.addons.base.models.ir_rule", "odoo.addons.base.models.ir_model")


@tagged("post_install", "-at_install")
class TestApproval(ProductCase):
    """Where the settings ask for it, somebody approves a picture before it is used."""

    def setUp(self):
        super().setUp()
        self.env["ir.config_parameter"].set_param("aigen_image.approval", "True")
        self.picture = self.for_lamp(self.ready())

    def activities(self):
        return self.picture.sudo().activity_ids

    def last_message(self):
        return self.picture.sudo().message_ids[0]

    def refuse(self, user, reason="The <b>logo</b> is not ours"):
        action = self.picture.with_user(user).action_refuse()
        wizard = self.env["aigen.image.refuse"].with_user(user).with_context(**action["context"])
        wizard.create({"reason": reason}).action_refuse()

    def test_it_is_used_as_soon_as_it_is_approved(self):
        said = self.picture.action_use()["params"]
        self.assertEqual((said["type"], said["use_id"]), ("info", False))
        self.assertShows(None)
        self.assertEqual((self.picture.approval, self.picture.target_state), ("asked", "waiting"))
        self.assertIn(self.eve, self.activities().user_id)
        self.assertNotIn(self.ann, self.activities().user_id)
        self.picture.with_user(self.eve).action_approve()
        self.assertShows("teal")
        self.assertEqual((self.picture.target_state, self.picture.use_ids.user_id), ("used", self.ann))
        self.assertFalse(self.activities())
        self.assertIn("was approved", self.last_message().body)
        self.assertEqual(self.last_message().partner_ids, self.ann.partner_id)
        self.picture.action_undo_use()
        self.assertShows(None)

    def test_asked_twice_is_asked_once(self):
        self.picture.action_use()
        asked = self.activities()
        self.picture.action_use()
        self.assertEqual(self.activities(), asked)
        self.assertEqual(len(self.picture.use_ids), 1)

    def test_one_that_is_in_use_already_stays_so_and_can_still_be_undone(self):
        """It was used before the settings asked for an approval."""
        self.env["ir.config_parameter"].set_param("aigen_image.approval", False)
        self.lamp.image_1920 = base64.b64encode(picture("red"))
        self.picture.action_use()
        self.env["ir.config_parameter"].set_param("aigen_image.approval", "True")
        self.picture.action_use()
        self.assertEqual((self.picture.approval, self.picture.target_state), (False, "used"))
        self.picture.action_undo_use()
        self.assertShows("red")

    @mute_logger(*QUIET)
    def test_nothing_is_used_for_somebody_who_has_left(self):
        self.picture.action_use()
        self.ann.active = False
        self.picture.with_user(self.eve).action_approve()
        self.assertShows(None)
        self.assertEqual(self.picture.sudo().use_ids.state, "failed")

    def test_an_approved_picture_is_used_further_at_once(self):
        self.picture.action_ask_approval()
        with self.assertRaisesRegex(UserError, "waiting for approval"):
            self.picture._check_usable()
        self.picture.with_user(self.eve).action_approve()
        self.picture._check_usable()
        self.picture.action_use()
        self.assertShows("teal")

    def test_a_refusal_has_a_reason_that_is_told(self):
        self.picture.action_use()
        self.refuse(self.eve)
        self.assertShows(None)
        self.assertEqual((self.picture.approval, self.picture.target_state), ("refused", "refused"))
        self.assertIn("The &lt;b&gt;logo&lt;/b&gt; is not ours", self.last_message().body)
        self.assertEqual(self.last_message().partner_ids, self.ann.partner_id)
        self.assertFalse(self.activities())
        for call in (self.picture.action_use, self.picture._check_usable):
            with self.assertRaisesRegex(UserError, "logo"):
                call()
        self.picture.with_user(self.eve).action_approve()
        self.picture.action_use()
        self.assertShows("teal")

    def test_the_rights_of_the_person_count_when_it_is_approved(self):
        self.picture.action_use()
        group = self.env.ref("product.group_product_manager")
        group["user_ids" if "user_ids" in group._fields else "users"] = [Command.unlink(self.ann.id)]
        with mute_logger(*QUIET):
            self.picture.with_user(self.eve).action_approve()
        self.assertShows(None)
        self.assertEqual((self.picture.approval, self.picture.target_state), ("approved", "failed"))
        self.assertIn("may not change", self.picture.target_failure)
        self.assertIn("It could not be used: You may not change", self.last_message().body)

    def test_a_record_that_was_deleted_meanwhile_does_not_hinder_the_approval(self):
        self.picture.action_use()
        self.lamp.unlink()
        self.picture.with_user(self.eve).action_approve()
        self.assertEqual(self.picture.approval, "approved")
        self.assertIn("was deleted", self.picture.use_ids.failure)

    def test_whoever_may_approve_does_so_by_using_it(self):
        self.env.ref("product.group_product_manager")._aigen_add_users(self.mia.ids)
        self.for_lamp(self.picture, self.mia).action_use()
        self.assertShows("teal")
        self.assertEqual((self.picture.approval, self.picture.approver_id), ("approved", self.mia))

    def test_an_approver_approves_without_being_asked(self):
        self.picture.with_user(self.mia).action_ask_approval()
        self.assertEqual((self.picture.approval, self.picture.approver_id), ("approved", self.mia))
        self.assertFalse(self.picture.may_ask_approval)

    def test_the_earlier_decision_stands(self):
        self.picture.action_use()
        self.picture.with_user(self.eve).action_approve()
        self.picture.with_user(self.mia).action_approve()
        self.assertEqual(self.picture.approver_id, self.eve)

    @mute_logger(*QUIET)
    def test_only_approvers_decide_and_they_see_only_what_waits_for_them(self):
        with self.assertRaises(AccessError):
            self.picture.with_user(self.eve).read(["prompt"])
        self.picture.action_use()
        self.assertTrue(self.picture.with_user(self.eve).read(["prompt"]))
        self.assertTrue(self.picture.with_user(self.eve).attachment_id.read(["datas"]))
        with self.assertRaises(AccessError):
            self.picture.with_user(self.eve).write({"rating": "1"})
        for user in (self.ann, self.bob):
            for name in ("action_approve", "action_refuse"):
                with self.assertRaises(AccessError):
                    getattr(self.picture.with_user(user), name)()
        with self.assertRaises(AccessError):
            self.picture.write({"approval": "approved"})
        with self.assertRaises(AccessError):
            self.env["aigen.image.refuse"].with_user(self.ann).create({"reason": "x"})

    def test_without_approvers_it_is_said_instead_of_waiting_forever(self):
        group = self.env.ref("aigen_image.group_approver")
        self.patch(type(group), "_aigen_members", lambda _self: self.env["res.users"])
        with self.assertRaisesRegex(UserError, "no approver"):
            self.picture.action_use()

    def test_without_the_setting_nobody_is_asked(self):
        self.env["ir.config_parameter"].set_param("aigen_image.approval", False)
        self.picture.action_use()
        self.assertShows("teal")
        self.assertFalse(self.picture.approval)
