"""A copy of the database neither sends to the bridge of the original, nor takes its pictures."""

from uuid import UUID

from odoo.modules.neutralize import get_neutralization_queries
from odoo.tests import tagged

from ..bridge import client
from .common import AigenCase, payload

COPY = (403, {"code": "wrong_database", "detail": "Another database has this key."})


@tagged("post_install", "-at_install")
class TestDatabase(AigenCase):
    def uuid(self):
        return self.env["ir.config_parameter"].get_param("database.uuid")

    def test_every_call_names_the_database(self):
        record = self.underway()
        record.action_refresh()
        record.action_cancel()
        self.commit()
        named = {headers.get("X-Odoo-Database") for *_, headers in self.bridge.calls}
        self.assertEqual({verb for verb, *_ in self.bridge.calls}, {"GET", "POST"})
        self.assertEqual(named, {f"{self.uuid()}; {self.env.cr.dbname}"})

    def test_a_name_with_any_characters_fits_into_a_header(self):
        self.assertEqual(client.database_header("u", "größe; x\n"), "u; gr%C3%B6%C3%9Fe%3B%20x%0A")

    def test_a_bridge_of_another_database_leaves_the_request_waiting_and_says_so(self):
        self.bridge.say("POST", client.REQUESTS, *COPY)
        record = self.draft()
        record.action_generate()
        self.commit()
        self.assertEqual((record.status, record.error_code), ("waiting", "wrong_database"))
        self.assertIn("tell your administrator", record.explanation)
        self.assertIn("does not serve this database", record.with_user(self.mia).explanation)
        self.bridge.takes_requests()  # the operator has confirmed the move
        self.env["aigen.image.request"]._cron_push()
        self.commit()
        self.assertEqual((record.status, record.error_code), ("queued", False))

    def test_refresh_says_that_the_bridge_serves_another_database(self):
        record = self.underway()
        self.bridge.say("GET", f"{client.REQUESTS}/{record.request_id}", *COPY)
        shown = self.toasts()
        record.action_refresh()
        self.commit()
        self.assertEqual(record.status, "queued")
        self.assertIn("tell your administrator", shown[0][1])
        record.with_user(self.mia).action_refresh()
        self.commit()
        self.assertIn("does not serve this database", shown[1][1])

    def test_the_answer_to_a_result_names_the_database(self):
        record = self.underway()
        limits = self.env["aigen.image.request"].with_user(self.robot).bridge_limits()
        self.assertEqual(limits["databaseUuid"], self.uuid())
        for known in ({}, {"databaseUuid": self.uuid().upper()}, {"databaseUuid": 7}):
            self.assertEqual(self.apply(payload(record, **known))["databaseUuid"], self.uuid())
        self.assertEqual(record.status, "completed")

    def test_a_result_for_another_database_is_not_applied(self):
        record = self.underway()
        answer = self.apply(payload(record, databaseUuid="11111111-1111-4111-8111-111111111111"))
        self.assertEqual(answer, {"applied": False, "recordId": 0, "attachmentId": False, "databaseUuid": self.uuid()})
        self.assertEqual((record.status, record.attachment_id.id), ("queued", False))

    def neutralize(self):
        self.env.flush_all()
        for query in get_neutralization_queries(["aigen_image"]):
            self.env.cr.execute(query)
        self.env.invalidate_all()
        self.env.registry.clear_cache()

    def test_a_neutralized_copy_sends_nothing_takes_nothing_and_asks_for_nothing_again(self):
        self.env["res.users.apikeys"].with_user(self.robot).sudo()._generate("rpc", "test", None)
        underway, draft = self.underway(), self.draft()
        underway.sudo().write({"held_since": "2026-01-01 10:00:00", "progress": {"stage": "queued"}})
        self.neutralize()
        parameters = self.env["ir.config_parameter"].search([("key", "like", "aigen_image.bridge_")])
        self.assertFalse(parameters)
        self.assertFalse(self.robot.api_key_ids)
        self.assertEqual((underway.status, draft.status), ("cancelled", "draft"))
        self.assertTrue(underway.finished_at)
        self.assertFalse(underway.held_since or underway.progress or underway.explanation)

    def test_a_draft_that_a_neutralized_copy_asks_for_is_another_request_than_that_of_the_original(self):
        drafts = self.draft() + self.draft()
        ids = [*drafts.mapped("request_id"), *drafts.mapped("correlation_id")]
        self.neutralize()
        new = [*drafts.mapped("request_id"), *drafts.mapped("correlation_id")]
        self.assertEqual(len({*ids, *new}), 8)
        self.assertEqual([str(UUID(each)) for each in new], new)
