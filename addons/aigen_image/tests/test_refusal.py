from odoo.tests import tagged
from odoo.tools import mute_logger

from ..bridge import client
from .common import AigenCase

EXCEEDED = {
    "code": "budget_exceeded",
    "detail": "The image would cost 0.035 USD, and the budget 'marketing' of 100.00 USD a month has 0.01 USD left.",
    "action": "Ask the contact for a higher limit, or wait for the next period.",
    "budget": "marketing",
    "limit": "100.00",
    "contact": "anna@example.com",
}


@tagged("post_install", "-at_install")
class TestRefusal(AigenCase):
    """Nothing that people ask for waits behind what the bridge refuses."""

    def ask_for_two(self, status, body=None, **headers):
        """Let the cron send two requests, of which the bridge answers the first so. Returns both."""
        waiting = self.env["aigen.image.request"]
        for _ in range(2):
            record = self.draft()
            record.sudo().status = "waiting"
            waiting |= record
        first, second = waiting

        def answer(event, refused, accepted):
            return refused if event["requestId"] == first.request_id else accepted

        def told(event):
            taken = {"requestId": event["requestId"], "status": "queued", "version": 1}
            return answer(event, body or {}, taken)

        self.bridge.say("POST", client.REQUESTS, lambda event: answer(event, status, 202), told, **headers)
        waiting._cron_push()
        self.commit()
        return first, second

    @mute_logger("odoo.addons.aigen_image.models.aigen_image_request_ask")
    def test_a_client_error_does_not_stop_the_queue(self):
        for status in (402, 403, 404, 408, 409, 410, 413, 422, 423, 451, 499):
            with self.subTest(status=status):
                self.assertEqual(self.ask_for_two(status)[1].status, "queued")

    def test_nor_does_one_of_a_proxy_before_the_bridge(self):
        self.bridge.answers["POST", client.REQUESTS] = (403, {}, {})
        first, second = self.draft(), self.draft()
        (first + second).action_generate()
        self.commit()
        self.assertEqual((first.status, first.error_code), ("waiting", "stranger"))
        self.assertEqual(len(self.bridge.sent()), 2)

    def test_a_key_or_a_load_that_every_request_meets_stops_the_queue(self):
        for status in (401, 429, 503):
            with self.subTest(status=status):
                first, second = self.ask_for_two(status)
                self.assertEqual((first.status, second.status), ("waiting", "waiting"))
                self.assertEqual(first.error_code, f"http_{status}")
                self.assertFalse(second.error_code)
                (first + second).action_cancel()

    def test_what_waits_and_was_tried_goes_behind_what_was_not(self):
        requests, waiting = self.env["aigen.image.request"], []
        for _ in range(2):
            record = self.draft()
            record.sudo().status = "waiting"
            waiting.append(record)
        first, second = waiting
        self.env.flush_all()
        self.env.cr.execute("UPDATE aigen_image_request SET write_date = write_date - interval '1 hour'")
        self.env.invalidate_all()
        self.bridge.say("POST", client.REQUESTS, 503)
        for tried in (first, second):
            requests._cron_push()
            self.commit()
            self.assertEqual(self.bridge.sent()[-1]["requestId"], tried.request_id)

    def test_a_person_reads_the_budget_that_refuses_and_whom_to_ask_and_can_ask_again(self):
        with self.assertBus(first := self.draft()) as sent:
            self.bridge.say("POST", client.REQUESTS, 402, EXCEEDED)
            first.action_generate()
            self.commit()
        self.assertEqual((first.status, first.error_code), ("draft", "budget_exceeded"))
        for words in ("0.01 USD left", "Ask the contact", "Contact: anna@example.com"):
            self.assertIn(words, first.explanation)
        self.assertEqual(sent[-1]["status"], "draft")
        self.bridge.takes_requests()
        first.action_generate()
        self.commit()
        self.assertEqual((first.status, first.explanation), ("queued", False))
        self.assertEqual({event["requestId"] for event in self.bridge.sent()}, {first.request_id})

    def test_the_budget_that_refuses_is_told_in_the_language_of_the_person(self):
        facts = {"budget": "team", "limit": "100.00", "spent": "99.955", "reserved": "0.035", "price": "0.035"}
        problem = EXCEEDED | facts | {"currency": "USD"}
        self.env["res.lang"]._activate_lang("de_DE")
        words = {
            "day": "The budget “team” has 0.01 USD of 100.00 USD left today.",
            "month": "The budget “team” has 0.01 USD of 100.00 USD left this month.",
            "total": "The budget “team” has 0.01 USD of 100.00 USD left.",
        }
        for period, told in words.items():
            record = self.refuse(402, problem | {"period": period})
            self.assertIn(f"{told} This picture costs about 0.035 USD.", record.explanation)
            self.assertIn("Contact: anna@example.com", record.explanation)
        self.ann.lang = "de_DE"
        self.assertIn("0,01 USD", self.refuse(402, problem | {"period": "day"}).explanation)
        for wrong in ({"period": "year"}, {"period": ["day"]}, {"spent": 7}, {"currency": None}, {"limit": "-1"}):
            told = self.refuse(402, problem | {"period": "day"} | wrong).explanation
            self.assertIn("'marketing' of 100.00 USD a month", told, wrong)

    def refuse(self, status, problem):
        """Return a request that the bridge refused so."""
        record = self.draft()
        self.bridge.say("POST", client.REQUESTS, status, problem)
        record.action_generate()
        self.commit()
        self.assertEqual(record.status, "draft")
        return record

    def test_wrong_fields_are_named_as_in_the_form_and_nothing_is_said_twice(self):
        errors = [
            {"field": "inferenceSteps", "message": "must be within the range: 4 to 30", "allowed": "4 to 30"},
            {"field": "modelId", "message": "is not in the catalogue", "allowed": "3f1a9d52-8c64-4e0b-b7a3 (Ink)"},
        ]
        record = self.refuse(422, {"detail": "EVT-AIG-001 is not valid.", "errors": errors})
        self.assertEqual(record.steps_refusal, "must be within the range: 4 to 30")
        self.assertEqual(record.model_id_refusal, "is not in the catalogue")
        told = "Steps: must be within the range: 4 to 30. Model: is not in the catalogue."
        self.assertEqual(record.explanation, told)

    @mute_logger("odoo.addons.aigen_image.models.aigen_image_request_ask")
    def test_an_answer_that_cannot_be_written_down_does_not_stop_the_queue(self):
        def unreadable(event):
            return {"requestId": event["requestId"], "status": "queued"}

        first, second = self.draft(), self.draft()
        for wrong in (unreadable, lambda _event: {"code": "budget_exceeded", "errors": ["odd"]}):
            (first + second).sudo().status = "waiting"
            bodies = iter((wrong, lambda event: unreadable(event) | {"version": 1}))
            statuses = iter((202 if wrong is unreadable else 422, 202))
            self.bridge.say(
                "POST", client.REQUESTS, lambda _event, by=statuses: next(by), lambda event, by=bodies: next(by)(event)
            )
            (first + second)._after_commit("_push_all", patient=True)
            self.commit()
            self.assertEqual((first.status, second.status), ("waiting", "queued"))

    def test_an_unknown_refusal_without_words_is_still_explained(self):
        record = self.draft()
        self.bridge.say("POST", client.REQUESTS, 451)
        record.action_generate()
        self.commit()
        self.assertEqual((record.status, record.error_code), ("draft", "http_451"))
        self.assertIn("without a reason", record.explanation)

    def test_every_call_says_the_version_of_the_addon(self):
        self.underway()
        self.assertEqual({headers["X-Aigen-Addon"] for *_, headers in self.bridge.calls}, {client.ADDON})

    def test_a_seed_is_sent_also_for_a_model_that_takes_none(self):
        self.model.offer = {"name": "Photo", "negativePrompt": False, "seed": False}
        record = self.underway(seed=0)
        self.assertGreater(self.bridge.sent()[0]["seed"], 0)
        self.assertFalse(record.takes_seed)
