from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import AigenCase, payload


@tagged("post_install", "-at_install")
class TestNotify(AigenCase):
    """What a person is told of pictures that ended, and what can be planned with them."""

    def ended(self, **told):
        record = self.underway()
        self.apply(payload(record, **told))
        return record

    def test_the_chatter_shows_the_picture_without_a_second_copy(self):
        record = self.ended()
        self.assertEqual(record.message_ids[0].attachment_ids, record.attachment_id)
        files = [("res_model", "=", record._name), ("res_id", "=", record.id), ("res_field", "=", False)]
        self.assertEqual(self.env["ir.attachment"].search_count(files), 1)
        failed = self.ended(status="failed", errorCode="timed_out")
        self.assertFalse(failed.message_ids[0].attachment_ids)

    def test_deleting_the_message_leaves_the_picture(self):
        record = self.ended()
        record.message_ids[0].unlink()
        self.assertTrue(record.attachment_id.exists())

    def test_a_person_chooses_what_tells_that_a_picture_is_ready(self):
        self.ann.notification_type = "inbox"
        shown = {"browser": (0, False), "message": (1, False), "nothing": (0, True)}
        for choice, (messages, silent) in shown.items():
            self.ann.with_user(self.ann).aigen_notify = choice
            record = self.underway()
            with self.assertBus(record) as news:
                self.apply(payload(record))
            self.assertEqual(news[-1]["silent"], silent, choice)
            told = record.message_ids.notification_ids.filtered(lambda one: one.notification_type == "inbox")
            self.assertEqual(told.res_partner_id, self.ann.partner_id if messages else told.res_partner_id.browse(), choice)

    def test_a_message_also_tells_that_there_is_none_but_not_what_one_cancelled(self):
        self.ann.aigen_notify = "message"
        failed = self.ended(status="failed", errorCode="timed_out")
        self.assertEqual(failed.message_ids[0].notified_partner_ids, self.ann.partner_id)
        cancelled = self.ended(status="cancelled")
        self.assertFalse(cancelled.message_ids[0].notified_partner_ids)

    def test_pictures_that_were_asked_for_together_send_one_message(self):
        self.ann.aigen_notify = "message"
        batch = self.env["aigen.image.batch"].create(
            {"name": "x", "user_id": self.ann.id, "company_id": self.env.company.id}
        )
        first, second = self.underway(), self.underway()
        (first + second).sudo().batch_id = batch
        self.apply(payload(first))
        self.assertFalse(first.message_ids.notified_partner_ids)
        self.apply(payload(second))
        self.assertEqual(second.message_ids.notified_partner_ids, self.ann.partner_id)

    @mute_logger("odoo.addons.base.models.ir_rule", "odoo.addons.base.models.ir_model")
    def test_nobody_chooses_for_another(self):
        with self.assertRaises(AccessError):
            self.ann.with_user(self.bob).aigen_notify = "nothing"

    def test_activities_are_planned_on_pictures_of_any_state(self):
        for record in (self.draft(), self.ended()):
            activity = record.activity_schedule("mail.mail_activity_data_todo", summary="Crop it", user_id=self.ann.id)
            self.assertEqual(record.activity_ids, activity)
            record.write({"activity_ids": [(1, activity.id, {"summary": "Crop it well"})]})
            activity.action_feedback("Done")
            self.assertFalse(record.activity_ids)

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_nobody_plans_activities_on_pictures_that_are_not_theirs_to_see(self):
        record = self.ended()
        with self.assertRaises(AccessError):
            record.with_user(self.bob).activity_schedule("mail.mail_activity_data_todo", user_id=self.bob.id)

    def test_identifiers_in_the_form_are_for_managers(self):
        for user, sees in ((self.ann, False), (self.mia, True)):
            arch = self.env["aigen.image.request"].with_user(user).get_view(view_type="form")["arch"]
            for name in ("correlation_id", "image_sha256", "provider_job"):
                self.assertEqual(f'name="{name}"' in arch, sees, (user.login, name))
