import base64
import hashlib

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .common import AigenCase, payload, picture

COST = {"amount": "0.035", "currency": "USD", "basis": "billed"}


@tagged("post_install", "-at_install")
class TestResult(AigenCase):
    def test_a_picture_is_stored_as_it_came_told_and_shown(self):
        record = self.underway()
        content = picture(width=2400, height=40)  # Odoo would scale it down
        with self.assertBus(record) as sent:
            answer = self.apply(payload(record, content=content))
        self.assertEqual(answer, self.answer(record, applied=True))
        self.assertEqual(record.attachment_id.raw, content)
        self.assertEqual((record.status, record.version, record.image_size), ("completed", 3, len(content)))
        self.assertEqual(record.attachment_id.mimetype, "image/png")
        self.assertTrue(record.finished_at)
        news = {"id": record.id, "status": "completed", "version": 3, "batch": False}
        self.assertEqual(sent, [news | {"name": record.name, "silent": False}])
        self.assertIn("ready", record.message_ids[0].body)

    def test_old_and_known_news_change_nothing_and_answer_with_the_same_ids(self):
        record = self.underway()
        first = self.apply(payload(record))
        notes = len(record.message_ids)
        for version, status in ((3, "completed"), (2, "failed"), (1, "cancelled")):
            self.assertEqual(self.apply(payload(record, version, status)), first | {"applied": False})
        self.assertEqual((record.status, len(record.message_ids)), ("completed", notes))
        self.assertEqual(
            self.env["ir.attachment"].search_count([("res_id", "=", record.id), ("res_model", "=", record._name)]), 1
        )

    def test_how_the_picture_was_made_and_what_it_cost_is_kept(self):
        record = self.underway()
        generation = {
            "provider": "fal",
            "model": "fal-ai/flux-lora",
            "jobId": "7f21",
            "seed": 2**63 - 1,
            "seconds": 3.14159,
            "negativePrompt": "folded",
            "hasNsfwConcepts": [False, True],
        }
        self.apply(payload(record, generation=generation, cost=COST))
        self.assertEqual(
            (record.provider, record.provider_model, record.provider_job), ("fal", "fal-ai/flux-lora", "7f21")
        )
        self.assertEqual((record.seed_used, record.made_in), ("9223372036854775807", 3.14))
        self.assertEqual((record.negative_prompt_use, record.is_nsfw), ("folded", True))
        self.assertEqual((record.cost_amount, record.cost_currency, record.cost), ("0.035", "USD", "0.035 USD"))

    def test_a_failed_picture_may_have_cost_something_too(self):
        record = self.underway()
        self.apply(payload(record, 2, "failed", errorCode="nsfw", cost=COST | {"basis": "estimated"}))
        self.assertEqual((record.status, record.cost), ("failed", "0.035 USD (estimated)"))

    def test_amounts_are_written_as_in_the_language(self):
        record = self.underway()
        self.apply(payload(record, cost=COST))
        self.env["res.lang"]._activate_lang("de_DE")
        self.assertEqual(record.with_context(lang="de_DE").cost, "0,035 USD")

    def test_facts_that_are_not_as_agreed_are_left_out_and_the_picture_is_kept(self):
        wrong = {"seed": [-1, True, "7", 1.5, 2**63, {}], "seconds": [-1, "3", True, 1e400, 10**400, []]}
        wrong |= {
            "provider": [7, [], {}, True],
            "negativePrompt": ["perhaps", [], 7],
            "hasNsfwConcepts": [True, "x", [1]],
        }
        for name, values in wrong.items():
            for value in values:
                record = self.underway()
                self.apply(payload(record, generation={"jobId": "7f21", name: value}))
                known = record.provider_job, record.seed_used, record.made_in, record.provider, record.is_nsfw
                self.assertEqual(known, ("7f21", False, 0, False, False), (name, value))
        for generation in (7, [], "x", {}, {"seed": -1}):
            record = self.underway()
            self.apply(payload(record, generation=generation, cost=generation))
            self.assertEqual((record.status, record.provider_job, record.cost), ("completed", False, False))
        for change in ({"amount": "-1"}, {"amount": "1e3"}, {"amount": 0.5}, {"currency": "usd"}, {"currency": None}):
            record = self.underway()
            self.apply(payload(record, cost=COST | change))
            self.assertEqual((record.status, record.cost_amount), ("completed", False), change)

    def test_names_are_kept_without_characters_that_no_database_takes(self):
        record = self.underway()
        self.apply(payload(record, generation={"provider": "f\0a\ud800l"}))
        self.assertEqual((record.status, record.provider), ("completed", "fal"))

    def test_facts_stay_when_a_later_answer_does_not_have_them_and_are_corrected_when_it_has_others(self):
        record = self.underway()
        self.apply(payload(record, generation={"jobId": "7f21", "seed": 7}))
        for version, generation, seed in (
            (4, None, "7"),
            (5, {"jobId": "7f21", "seed": 8}, "8"),
            (5, {"seed": 9}, "8"),
        ):
            self.apply(payload(record, version, generation=generation))
            self.assertEqual(record.seed_used, seed)

    def test_a_failure_says_why_and_a_later_picture_wins(self):
        record = self.underway()
        answer = self.apply(payload(record, 2, "failed", errorCode="nsfw", errorMessage="<script>alert(1)</script>"))
        self.assertEqual(answer["attachmentId"], False)
        self.assertEqual((record.status, record.explanation), ("failed", "<script>alert(1)</script>"))
        self.assertNotIn("<script>", record.message_ids[0].body)
        self.assertTrue(self.apply(payload(record, 3))["applied"])
        self.assertEqual((record.status, record.error_code, record.error_message), ("completed", False, False))

    def test_jpeg_and_webp_keep_their_bytes_and_types(self):
        webp = b"RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0"  # one pixel
        for name, content in (("jpeg", picture(name="JPEG")), ("webp", webp)):
            record = self.underway()
            told = payload(record)
            told["image"] |= payload_of(content) | {"format": name}
            self.apply(told)
            self.assertEqual(record.attachment_id.raw, content)
            self.assertEqual(record.attachment_id.mimetype, f"image/{name}")

    def test_how_large_a_picture_may_be_is_a_system_parameter_and_told_to_the_bridge(self):
        record, parameters = self.underway(), self.env["ir.config_parameter"].sudo()
        requests = self.env["aigen.image.request"].with_user(self.robot)
        self.assertEqual(requests.bridge_limits()["imageBytes"], 32 * 2**20)
        parameters.set_param("aigen_image.max_image_bytes", "20")
        self.assertEqual(requests.bridge_limits()["imageBytes"], 20)
        with self.assertRaisesRegex(ValidationError, "larger than 20 bytes.*max_image_bytes"):
            self.apply(payload(record))
        parameters.set_param("aigen_image.max_image_bytes", "a lot")
        self.assertTrue(self.apply(payload(record))["applied"])
        with self.assertRaises(AccessError):
            self.env["aigen.image.request"].with_user(self.ann).bridge_limits()

    def test_what_is_not_as_agreed_is_a_validation_error_without_effect(self):
        record = self.underway()
        good = payload(record)

        def image(**changes):
            return dict(good, image=dict(good["image"], **changes))

        wrong = [
            "text", {}, dict(good, version=0), dict(good, version=True), dict(good, version=2**31),
            dict(good, status="done"), dict(good, status=[]), dict(good, image=None), dict(good, image="x"),
            image(sha256="0" * 64), image(size=1), image(data="***"), image(data=None), image(width=0),
            image(format="jpeg"), image(format="svg"), dict(good, requestId=7), dict(good, status="failed"),
        ]  # fmt: skip
        for told in wrong:
            with self.assertRaises(ValidationError, msg=told), self.cr.savepoint():
                self.apply(told)
        self.assertEqual((record.status, record.version, record.attachment_id.id), ("queued", 1, False))

    def test_what_is_no_image_is_not_stored_as_one(self):
        record = self.underway()
        content = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
        told = payload(record)
        told["image"] |= payload_of(content)
        with self.assertRaisesRegex(ValidationError, "no png"):
            self.apply(told)

    def test_a_request_of_another_database_is_a_user_error(self):
        record = self.underway()
        told = payload(record, requestId="0b5c1f0e-7d3a-4c52-9a61-3f1f3c0f2a10")
        with self.assertRaisesRegex(UserError, "no image request 0b5c1f0e"):
            self.apply(told)

    def test_nobody_but_the_bridge_reports_results(self):
        record = self.underway()
        people = [self.ann, self.bob, self.mia, self.stranger, self.env.ref("base.user_admin")]
        for user in [*people, self.env.ref("base.public_user")]:
            with self.assertRaises(AccessError, msg=user.login):
                self.env["aigen.image.request"].with_user(user).bridge_apply_result(payload(record))
        self.assertEqual(record.status, "queued")

    def test_it_is_told_though_the_person_was_archived_or_the_record_hidden(self):
        record = self.underway()
        record.active = False
        self.ann.active = False
        self.assertTrue(self.apply(payload(record))["applied"])

    def test_a_removed_picture_leaves_the_answer_true(self):
        record = self.underway()
        self.apply(payload(record))
        record.attachment_id.unlink()
        self.env.invalidate_all()
        answer = self.apply(payload(record))
        self.assertEqual(answer, self.answer(record, applied=False))
        self.assertFalse(answer["attachmentId"])

    def test_a_restored_bridge_that_tells_the_same_again_disturbs_nobody(self):
        ready, failed = self.underway(), self.underway()
        self.apply(payload(ready))
        self.apply(payload(failed, 3, "failed", errorCode="timed_out"))
        for record, status, code in ((ready, "completed", None), (failed, "failed", "timed_out")):
            picture_here, notes = record.attachment_id, len(record.message_ids)
            with self.assertBus(record) as sent:
                answer = self.apply(payload(record, 60_000_000, status, errorCode=code))
            self.assertEqual(answer, self.answer(record, applied=True))
            self.assertEqual((record.version, record.attachment_id), (60_000_000, picture_here))
            self.assertEqual((len(record.message_ids), sent), (notes, []))

    def test_a_restored_bridge_takes_no_picture_back_and_replaces_none(self):
        record = self.underway()
        self.apply(payload(record))
        first, notes = record.attachment_id, len(record.message_ids)
        others = [payload(record, 60_000_000, status) for status in ("failed", "dispatched", "cancelled")]
        for told in (*others, payload(record, 60_000_000, content=picture("navy"))):
            self.assertEqual(self.apply(told), self.answer(record, applied=False))
        self.assertEqual((record.status, record.version, record.attachment_id), ("completed", 3, first))
        self.assertEqual(len(record.message_ids), notes)

    def test_a_restored_bridge_does_not_go_on_with_what_a_person_cancelled(self):
        record = self.underway()
        record.action_cancel()
        answer = self.apply(payload(record, 60_000_000, "dispatched"))
        self.assertEqual((answer["applied"], answer["status"]), (False, "cancelled"))

    def test_what_failed_after_the_backup_goes_on_and_its_late_picture_is_shown(self):
        record = self.underway()
        self.apply(payload(record, 3, "failed", errorCode="timed_out"))
        self.apply(payload(record, 60_000_001, "dispatched"))
        self.assertEqual((record.status, record.error_code), ("dispatched", False))
        self.apply(payload(record, 60_000_002))
        self.assertEqual((record.status, bool(record.attachment_id)), ("completed", True))

    def answer(self, record, *, applied):
        """What the bridge is answered."""
        found = {"recordId": record.id, "attachmentId": record.attachment_id.id, "version": record.version}
        found |= {"applied": applied, "status": record.status, "errorCode": record.error_code}
        return found | {"databaseUuid": self.env["ir.config_parameter"].get_param("database.uuid")}


def payload_of(content):
    return {
        "data": base64.b64encode(content).decode(),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
