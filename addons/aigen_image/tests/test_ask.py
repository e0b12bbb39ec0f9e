from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..bridge import client
from ..models.aigen_image_request import AigenImageRequest
from .common import AigenCase, described, payload, picture

SENDING = "odoo.addons.aigen_image.models.aigen_image_request_ask"


def held(since="2026-01-31T18:00:00Z"):
    """What the bridge says of a request that it holds because N8N is away."""
    return {"destination": "n8n", "since": since, "until": "2026-01-31T18:10:00Z"}


def at(time):
    """A moment of the day of the tests, as Odoo keeps it."""
    return fields.Datetime.to_datetime(f"2026-01-31 {time}:00")


def written(kept):
    """In place of `write`: keeps the names of what is written, apart from the log."""
    write = AigenImageRequest.write

    def keep(self, vals):
        if vals.keys() != {"log"}:
            kept.append(sorted(vals))
        return write(self, vals)

    return keep


@tagged("post_install", "-at_install")
class TestAsk(AigenCase):
    def test_generate_sends_the_whole_event_after_the_commit(self):
        self.bridge.takes_requests()
        record = self.draft(negative_prompt="people", shape="16:9", seed=7)
        record.action_generate()
        self.assertEqual((record.status, self.bridge.calls), ("waiting", []))
        self.commit()
        self.assertEqual((record.status, record.version), ("queued", 1))
        [event] = self.bridge.sent()
        self.assertEqual(
            event,
            {
                "requestId": record.request_id,
                "correlationId": record.correlation_id,
                "userId": self.ann.aigen_uuid,
                "prompt": "A lighthouse at dusk",
                "negativePrompt": "people",
                "modelId": self.model.uuid,
                "resolution": "1344x768",
                "aspectRatio": "16:9",
                "seed": 7,
                "inferenceSteps": 28,
                "cfgScale": 3.5,
            },
        )
        headers = self.bridge.calls[0][3]
        self.assertEqual(headers["X-API-Key"], "key-of-odoo")
        self.assertEqual(headers["X-Correlation-ID"], record.correlation_id)

    def test_what_is_left_to_the_service_is_left_out_and_a_seed_is_drawn(self):
        self.bridge.takes_requests()
        record = self.draft(steps=0, cfg=0, seed=0)
        record.action_generate()
        self.commit()
        [event] = self.bridge.sent()
        self.assertFalse({"negativePrompt", "inferenceSteps", "cfgScale"} & event.keys())
        self.assertEqual(event["seed"], record.seed)
        self.assertGreater(record.seed, 0)

    def test_pressed_twice_it_is_sent_once(self):
        self.bridge.takes_requests()
        record = self.draft()
        record.action_generate()
        record.action_generate()
        self.commit()
        record.action_generate()
        self.commit()
        self.assertEqual(len(self.bridge.sent()), 1)

    def test_a_bridge_that_is_away_leaves_it_waiting_and_the_cron_sends_the_same(self):
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        record = self.draft()
        record.action_generate()
        self.commit()
        self.assertEqual((record.status, record.error_code), ("waiting", "refused"))
        self.assertIn("not reachable at the moment; your request is kept", record.explanation)
        self.assertIn("not running", record.with_user(self.mia).explanation, "managers read the details")
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", self.bridge.url)
        self.bridge.takes_requests()
        self.env["aigen.image.request"]._cron_push()
        self.commit()
        self.assertEqual((record.status, record.error_code), ("queued", False))
        self.assertEqual(self.bridge.sent()[0]["requestId"], record.request_id)

    def test_refusals_stand_at_the_fields_and_can_be_mended(self):
        errors = [
            {"field": "prompt", "message": "is <b>too long</b>", "allowed": "a text of 1 to 4000 characters"},
            {"field": "inferenceSteps", "message": "is too many"},
        ]
        self.bridge.say("POST", client.REQUESTS, 422, {"detail": "Not valid.", "errors": errors})
        record = self.draft()
        record.action_generate()
        self.commit()
        self.assertEqual(record.status, "draft")
        self.assertEqual(record.prompt_refusal, "is <b>too long</b> (a text of 1 to 4000 characters)")
        self.assertEqual((record.steps_refusal, record.cfg_refusal), ("is too many", False))
        self.bridge.takes_requests()
        record.prompt = "Shorter"
        record.action_generate()
        self.commit()
        self.assertEqual((record.status, record.prompt_refusal), ("queued", False))
        first, second = self.bridge.sent()
        self.assertEqual(first["requestId"], second["requestId"])

    def test_a_contradiction_is_reported_as_the_bug_that_it_is(self):
        self.bridge.say("POST", client.REQUESTS, 409, {"code": "request_differs", "detail": "Other content."})
        record = self.draft()
        record.action_generate()
        with self.assertLogs(SENDING, "ERROR"):
            self.commit()
        self.assertEqual((record.status, record.error_code), ("failed", "bridge_request_differs"))
        self.assertIn("administrator", record.explanation)

    def test_a_wrong_key_a_busy_bridge_and_a_stranger_leave_it_waiting_with_words(self):
        for status, headers, words in ((401, {}, "administrator"), (503, {"Retry-After": "5"}, "at the moment")):
            self.bridge.say("POST", client.REQUESTS, status, **headers)
            record = self.draft()
            record.action_generate()
            self.commit()
            self.assertEqual((record.status, record.error_code), ("waiting", f"http_{status}"))
            self.assertIn(words, record.explanation)
        self.bridge.answers["POST", client.REQUESTS] = (200, {"status": "fine"}, {})
        record = self.draft()
        record.action_generate()
        self.commit()
        self.assertEqual((record.status, record.error_code), ("waiting", "stranger"))

    def test_a_redirect_is_not_followed_with_the_key(self):
        self.bridge.say("POST", client.REQUESTS, 307, Location=f"{self.bridge.url}/elsewhere")
        record = self.draft()
        record.action_generate()
        self.commit()
        self.assertEqual(record.status, "waiting")
        self.assertEqual([path for _, path, _, _ in self.bridge.calls], [client.REQUESTS])

    def test_the_key_is_neither_logged_nor_shown(self):
        record = self.draft()
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        record.action_generate()
        with self.assertNoLogs("odoo.addons.aigen_image", "INFO"):
            self.commit()
        self.assertNotIn("key-of-odoo", repr(record._bridge()))
        self.assertNotIn("key-of-odoo", str(record.read()))

    def test_without_an_address_generate_says_so_at_once(self):
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", False)
        record = self.draft()
        with self.assertRaisesRegex(UserError, "not set up"):
            record.action_generate()

    def test_a_person_is_not_made_to_wait_twice_for_a_silent_bridge(self):
        self.addCleanup(client._silent_until.clear)
        with patch.object(client, "_answer", side_effect=client.requests.exceptions.ConnectTimeout) as calling:
            first = self.draft()
            first.action_generate()
            self.commit()
            second = self.draft()
            second.action_generate()
            self.commit()
            self.assertEqual(calling.call_count, 1)
            self.env["aigen.image.request"]._cron_push()
            self.commit()
            self.assertEqual(calling.call_count, 2)
        self.assertEqual((first.error_code, second.error_code), ("timeout", "silent"))

    def test_cancelling_withdraws_it_at_the_bridge(self):
        record = self.underway()
        place = f"{client.REQUESTS}/{record.request_id}"
        self.bridge.say("POST", f"{place}/cancel", 200, {"requestId": record.request_id})
        self.bridge.say("GET", place, 200, {"requestId": record.request_id, "status": "cancelled", "version": 2})
        record.action_cancel()
        self.commit()
        self.assertEqual((record.status, record.version), ("cancelled", 2))
        self.assertEqual(len(self.bridge.sent(path=f"{place}/cancel")), 1)

    def test_refresh_brings_the_step_and_then_the_picture_and_the_log(self):
        record = self.underway()
        place = f"{client.REQUESTS}/{record.request_id}"
        self.bridge.say("GET", place, 200, {"requestId": record.request_id, "status": "dispatched", "version": 2})
        self.bridge.say("GET", f"{place}/timeline", 200, {"entries": [{"kind": "state", "status": "queued"}]})
        record.action_follow()
        self.commit()
        self.assertEqual((record.status, record.log[0]["status"]), ("dispatched", "queued"))
        content = picture("navy")
        ready = {"requestId": record.request_id, "status": "completed", "version": 3, "image": described(content)}
        self.bridge.say("GET", place, 200, ready)
        self.bridge.say("GET", f"{place}/image", 200, content)
        record.action_refresh()
        self.commit()
        self.assertEqual((record.status, record.attachment_id.raw), ("completed", content))
        record.attachment_id.unlink()
        self.env.invalidate_all()
        record.action_refresh()
        self.commit()
        self.assertEqual(record.attachment_id.raw, content)

    def pull(self, record, **resource):
        """Ask the bridge, which answers with this resource."""
        told = {"requestId": record.request_id, "status": "queued", "version": 1} | resource
        self.bridge.say("GET", f"{client.REQUESTS}/{record.request_id}", 200, told)
        record.action_follow()
        self.commit()

    def follow(self, *records, log_ids=(), **resource):
        """Ask a bridge of today about them all, as a view does. Returns the paths of the calls."""
        told = {"status": "dispatched", "version": 2} | resource
        self.bridge.holds(*({"requestId": record.request_id} | told for record in records))
        self.bridge.calls.clear()
        self.env["aigen.image.request"].union(*records).action_follow(log_ids=log_ids)
        self.commit()
        return [path for _, path, _, _ in self.bridge.calls]

    def test_one_call_asks_about_all_pictures_of_a_view(self):
        records = [self.underway() for _ in range(24)]
        self.follow(*records)
        with patch.object(type(records[0]), "_lock") as lock:
            self.assertEqual(self.follow(*records), [client.REQUESTS])
        lock.assert_not_called()
        [query] = self.bridge.sent("GET")
        self.assertEqual(query, {"ids": ",".join(record.request_id for record in records)})
        self.assertEqual({record.status for record in records}, {"dispatched"})

    def test_more_than_a_hundred_are_asked_about_with_several_calls(self):
        values = {"prompt": "x", "model_id": self.model.id, "status": "queued"}
        records = self.env["aigen.image.request"].sudo().create([values] * 101)
        self.bridge.holds(*({"requestId": one.request_id, "status": "queued", "version": 1} for one in records))
        records.version = 1
        records.action_follow()
        self.commit()
        self.assertEqual([len(query["ids"].split(",")) for query in self.bridge.sent("GET")], [100, 1])

    def test_the_log_is_read_when_it_is_looked_at_and_when_the_status_changed(self):
        record, other = self.underway(), self.underway()
        timelines = [f"{client.REQUESTS}/{one.request_id}/timeline" for one in (record, other)]
        self.assertEqual(self.follow(record, other), [client.REQUESTS, *timelines])
        self.assertEqual(self.follow(record, other), [client.REQUESTS])
        self.assertEqual(self.follow(record, other, log_ids=other.ids), [client.REQUESTS, timelines[1]])
        self.assertEqual(self.follow(record, progress={"stage": "queued"}), [client.REQUESTS])

    def test_a_picture_that_is_ready_is_fetched(self):
        record, content = self.underway(), picture("navy")
        self.bridge.say("GET", f"{client.REQUESTS}/{record.request_id}/image", 200, content)
        self.follow(record, status="completed", version=3, image=described(content))
        self.assertEqual((record.status, record.attachment_id.raw), ("completed", content))

    def test_an_older_bridge_is_asked_one_by_one_about_ten_at_most(self):
        records = self.env["aigen.image.request"].union(*(self.underway() for _ in range(12)))
        others = {"items": [{"requestId": str(number), "status": "failed", "version": 9} for number in range(50)]}
        for version, answer in enumerate(((422, {"code": "invalid_request"}), (200, others)), start=2):
            self.bridge.say("GET", client.REQUESTS, *answer)
            for one in records:
                told = {"requestId": one.request_id, "status": "dispatched", "version": version}
                self.bridge.say("GET", f"{client.REQUESTS}/{one.request_id}", 200, told)
            records.action_follow()
            self.commit()
            self.assertEqual(records.mapped("version"), [version] * 10 + [1] * 2)
            self.assertNotIn("failed", records.mapped("status"))

    def test_a_bridge_that_refuses_the_question_is_not_asked_about_each_picture(self):
        records = self.env["aigen.image.request"].union(*(self.underway() for _ in range(3)))
        for status in (401, 429, 500, 503):
            self.bridge.say("GET", client.REQUESTS, status)
            self.bridge.calls.clear()
            records.action_follow()
            self.commit()
            self.assertEqual(len(self.bridge.calls), 1, status)

    def test_what_waits_to_be_sent_is_not_asked_about_by_itself(self):
        record, lost = self.underway(), self.underway()
        (record + lost).sudo().write({"status": "waiting", "version": 0})
        self.follow(record)
        self.assertEqual(record.status, "dispatched", "the bridge has it: the answer to an earlier try was lost")
        self.bridge.holds()
        self.bridge.calls.clear()
        lost.action_follow()
        self.commit()
        self.assertEqual([path for _, path, _, _ in self.bridge.calls], [client.REQUESTS])

    def test_a_restored_bridge_that_is_behind_changes_nothing_and_costs_no_further_call(self):
        record = self.underway()
        self.follow(record, version=5)
        self.assertEqual(self.follow(record, status="queued", version=2), [client.REQUESTS])
        self.assertEqual((record.status, record.version), ("dispatched", 5))

    def test_what_the_answer_lacks_is_sent_again_only_if_the_bridge_does_not_know_it_by_itself(self):
        known, forgotten = self.underway(), self.underway()
        told = {"requestId": known.request_id, "status": "dispatched", "version": 2}
        self.bridge.say("GET", f"{client.REQUESTS}/{known.request_id}", 200, told)
        self.bridge.say("GET", client.REQUESTS, 200, {"items": []})
        (known + forgotten).action_follow()
        self.commit()
        self.assertEqual((known.status, forgotten.status), ("dispatched", "waiting"))

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_one_that_the_person_may_not_see_any_more_hinders_no_other(self):
        mine, theirs = self.underway(), self.underway(user=self.bob)
        states = [{"requestId": one.request_id, "status": "dispatched", "version": 2} for one in (mine, theirs)]
        self.bridge.holds(*states)
        (mine + theirs).with_user(self.ann).action_follow()
        self.commit()
        self.assertEqual((mine.status, theirs.status), ("dispatched", "queued"))
        with self.assertRaises(AccessError):
            theirs.with_user(self.ann).action_follow()

    def test_an_answer_that_is_not_as_agreed_hinders_no_other(self):
        for wrong in (7, [], {"items": 7}, {"items": [7, {}, {"requestId": []}, {"requestId": "x"}]}):
            record = self.underway()
            self.bridge.say("GET", client.REQUESTS, 200, wrong)
            self.bridge.say("GET", f"{client.REQUESTS}/{record.request_id}", 503)
            with self.assertNoLogs("odoo.addons.aigen_image", "WARNING"):
                record.action_follow()
                self.commit()
            self.assertEqual(record.status, "queued", wrong)
        first, second = self.underway(), self.underway()
        good = {"requestId": second.request_id, "status": "dispatched", "version": 2}
        self.bridge.holds({"requestId": first.request_id, "status": "done"}, good)
        with self.assertLogs(SENDING, "WARNING"):
            (first + second).action_follow(log_ids=first.ids)
            self.commit()
        self.assertEqual((first.status, second.status), ("queued", "dispatched"))

    def test_a_view_learns_that_the_bridge_was_away_when_it_last_asked(self):
        record, parameters = self.underway(), self.env["ir.config_parameter"]
        self.assertTrue(record.action_follow())
        parameters.set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        record.action_follow()
        self.commit()
        self.assertFalse(record.action_follow())
        parameters.set_param("aigen_image.bridge_url", self.bridge.url)
        self.assertTrue(record.action_follow())

    def test_what_was_deleted_meanwhile_is_not_asked_about(self):
        kept, gone = self.underway(), self.underway()
        self.env.cr.execute("DELETE FROM aigen_image_request WHERE id = %s", [gone.id])
        self.env.invalidate_all()
        self.bridge.holds({"requestId": kept.request_id, "status": "dispatched", "version": 2})
        (gone + kept).action_follow()
        self.commit()
        self.assertEqual(kept.status, "dispatched")

    def test_progress_is_kept_and_shown_when_it_changes_and_ends_with_the_making(self):
        record = self.underway()
        self.follow(record)
        queue = {"stage": "queued", "queuePosition": 3, "percent": None, "message": None}
        with self.assertBus(record) as sent:
            for second in range(3):
                self.follow(record, progress=queue | {"reportedAt": f"2026-01-31T18:00:0{second}Z"})
            self.assertEqual((record.progress, len(sent)), ({"stage": "queued", "queuePosition": 3}, 1))
            self.follow(record, progress={"stage": "generating", "percent": 42.7})
            self.assertEqual((record.progress, len(sent)), ({"stage": "generating", "percent": 42}, 2))
        self.assertEqual((record.version, len(record.message_ids)), (2, 1))
        self.follow(record, status="received", version=3, progress={"stage": "finishing"})
        self.assertFalse(record.progress)

    def test_a_request_that_goes_back_to_the_queue_has_no_progress(self):
        record, progress = self.underway(), {"stage": "generating", "percent": 90}
        self.follow(record, progress=progress)
        self.assertTrue(record.progress)
        self.follow(record, status="queued", version=3, progress=progress)
        self.assertFalse(record.progress)

    def test_a_result_ends_the_progress(self):
        record = self.underway()
        self.follow(record, progress={"stage": "finishing"})
        self.apply(payload(record))
        self.assertFalse(record.progress)

    def test_it_is_known_how_often_n8n_lost_it(self):
        record = self.underway()
        self.follow(record, generation={"resent": 1})
        self.assertEqual(record.resent, 1)
        self.follow(record, generation=None)
        self.assertEqual(record.resent, 0, "a person sent it again")

    def test_progress_that_is_not_as_agreed_is_left_out(self):
        record = self.underway()
        wrong = [7, [], "queued", {}, {"stage": "done"}, {"stage": ["queued"]}, {"stage": None, "percent": 5}]
        for progress in wrong:
            self.follow(record, progress=progress, generation=[])
            self.assertEqual((record.status, record.progress), ("dispatched", False), progress)
        for number in (-1, True, "4", 1.5, 1e300, [], 2**31):
            self.follow(record, progress={"stage": "queued", "queuePosition": number})
            self.assertEqual(record.progress, {"stage": "queued"}, number)
        for number in (-1, True, "4", 100.5, []):
            self.follow(record, progress={"stage": "generating", "percent": number})
            self.assertEqual(record.progress, {"stage": "generating"}, number)

    def test_a_hold_is_shown_without_a_new_version_and_ends_without_one(self):
        record = self.underway()
        self.pull(record, held=held("2026-01-31T18:00:00.123456+02:00"))
        self.assertEqual((record.status, record.version), ("queued", 1))
        self.assertEqual(record.held_since, at("16:00"))
        self.assertIn("The image service is away", record.explanation)
        self.pull(record, held=held("2026-01-31T16:05:00Z"))
        self.assertEqual(record.held_since, at("16:05"))
        self.pull(record, held=None)
        self.assertEqual((record.status, record.held_since, record.explanation), ("queued", False, False))

    def test_the_answer_to_a_new_request_may_say_that_it_is_held(self):
        self.bridge.takes_requests(held=held())
        record = self.draft()
        record.action_generate()
        self.commit()
        self.assertEqual((record.status, record.held_since), ("queued", at("18:00")))

    def test_only_a_change_of_the_hold_is_written_and_shown(self):
        record = self.underway()
        writes = []
        with self.assertBus(record) as sent, patch.object(type(record), "write", written(writes)):
            for _ in range(3):
                self.pull(record, held=held())
            for _ in range(3):
                self.pull(record)
        self.assertEqual(writes, [["held_since"], ["held_since", "started_at"]])
        self.assertEqual([news["status"] for news in sent], ["queued", "queued"])

    def test_what_is_not_as_agreed_is_no_hold_and_no_error(self):
        record = self.underway()
        wrong = [
            "n8n", [], 7, True, {}, {"destination": "n8n"}, {"since": "2026-01-31T18:00:00Z"}, held(7), held(None),
            held([]), held(""), held("yesterday"), held("2026-01-31"), held("2026-01-31T18:00:00"), held("\0"),
            held("0001-01-01T00:00:00+01:00"), held("0999-01-01T00:00:00Z"), held("9999-12-31T23:59:59-01:00"),
            held() | {"destination": ["n8n"]}, held() | {"destination": "odoo"},
        ]  # fmt: skip
        for told in wrong:
            self.pull(record, held=told)
            self.assertEqual((record.status, record.held_since), ("queued", False), told)

    def test_a_hold_ends_when_the_request_moves_on_however_that_is_known(self):
        def pulled(record):
            self.pull(record, status="dispatched", version=2)

        def reported(record):
            self.apply(
                {"requestId": record.request_id, "version": 2, "status": "failed", "errorCode": "dispatch_failed"}
            )

        def cancelled(record):
            record.action_cancel()

        def forgotten(record):
            self.bridge.answers.pop(("GET", f"{client.REQUESTS}/{record.request_id}"))
            record.action_follow()
            self.commit()

        def completed_elsewhere(record):
            self.pull(record, status="completed", version=3)  # its picture is not to be had; the bridge brings it

        for move in (pulled, reported, cancelled, forgotten, completed_elsewhere):
            record = self.underway()
            self.pull(record, held=held())
            self.assertTrue(record.held_since)
            move(record)
            self.assertFalse(record.held_since, move.__name__)

    def test_an_overtaken_answer_neither_holds_nor_ends_a_hold(self):
        record = self.underway()
        self.pull(record, status="queued", version=3, held=held())
        self.pull(record, status="queued", version=1)
        self.assertTrue(record.held_since)
        self.pull(record, status="dispatched", version=4)
        self.pull(record, status="queued", version=3, held=held())
        self.assertEqual((record.status, record.held_since), ("dispatched", False))

    def test_what_a_person_cancelled_is_not_held(self):
        record = self.underway()
        record.action_cancel()
        self.pull(record, held=held())
        self.assertEqual((record.status, record.held_since), ("cancelled", False))

    def test_progress_counts_from_where_the_request_went_on(self):
        def ask(minute, record, **resource):
            with patch.object(fields.Datetime, "now", lambda *_: at(f"18:{minute:02}")):
                self.pull(record, **resource)
                record.invalidate_recordset(["elapsed"])
                return record.elapsed / 60

        record = self.underway()
        record.sudo().requested_at = record.sudo().started_at = at("18:00")
        self.assertEqual(ask(5, record, held=held()), 5)
        self.assertEqual(ask(9, record), 0, "the hold is over")
        self.assertEqual(ask(10, record, status="dispatched", version=2), 1)
        self.assertEqual(ask(12, record, version=3), 0, "N8N lost it, and it is sent again")
        self.assertEqual(ask(13, record, version=3, held=held()), 1)
        self.assertEqual(ask(20, record, status="dispatched", version=4), 0, "the end of the hold was not seen")
        self.assertEqual(ask(21, record, status="failed", version=5, errorCode="timed_out"), 1)
        self.assertEqual(record.requested_at, at("18:00"))

    def test_a_request_goes_back_to_the_queue_and_on_again(self):
        record = self.underway()
        for version, status in ((2, "dispatched"), (3, "queued"), (4, "dispatched"), (5, "received")):
            self.pull(record, status=status, version=version)
            self.assertEqual((record.status, record.version), (status, version))

    def test_every_failure_of_the_bridge_has_plain_words(self):
        words = {
            "dispatch_failed": "did not take the request",
            "execution_lost": "lost this picture while it was being made",
            "maybe_paid": "may have been made and paid for",
            "workflow_failed": "went wrong in the image service",
            "timed_out": "did not answer in time",
        }
        for code, plain in words.items():
            record = self.underway()
            self.pull(record, status="failed", version=2, errorCode=code, errorMessage="For operators")
            self.assertIn(plain, record.explanation)
            self.assertNotIn("For operators", record.explanation)

    def test_what_a_restored_bridge_takes_again_starts_at_its_first_version(self):
        record = self.underway()
        self.pull(record, status="received", version=3)
        self.bridge.answers.pop(("GET", f"{client.REQUESTS}/{record.request_id}"))
        record.action_follow()
        self.commit()
        self.env["aigen.image.request"]._cron_push()
        self.commit()
        self.assertEqual((record.status, record.version), ("queued", 1))
        self.assertTrue(self.apply(payload(record, 3))["applied"])

    def test_what_the_bridge_forgot_is_sent_again_with_the_same_id(self):
        record = self.underway()
        record.action_follow()
        self.commit()
        self.assertEqual((record.status, record.error_code), ("waiting", "forgotten"))
        self.env["aigen.image.request"]._cron_push()
        self.commit()
        self.assertEqual({event["requestId"] for event in self.bridge.sent()}, {record.request_id})
        self.assertEqual(len(self.bridge.sent()), 2)

    def test_what_is_sent_again_leaves_the_waiting_whatever_version_is_known_here(self):
        for answer, status in (
            ({"status": "queued", "version": 1}, "queued"),
            ({"status": "dispatched", "version": 3}, "dispatched"),
            ({"status": "completed", "version": 2}, "received"),  # its picture is no longer kept there
        ):
            record = self.underway()
            record.sudo().write({"status": "waiting", "version": 7})
            told = {"requestId": record.request_id} | answer
            self.bridge.say("POST", client.REQUESTS, 200, told)
            self.bridge.say("GET", f"{client.REQUESTS}/{record.request_id}", 200, told)
            self.env["aigen.image.request"]._cron_push()
            self.commit()
            self.assertEqual(record.status, status)
            sent = len(self.bridge.sent())
            self.env["aigen.image.request"]._cron_push()
            self.commit()
            self.assertEqual(len(self.bridge.sent()), sent)
            self.assertTrue(self.apply(payload(record, 8))["applied"])

    def test_a_picture_that_is_here_is_not_asked_for_again(self):
        record = self.underway()
        self.apply(payload(record))
        first = record.attachment_id
        for status in ("completed", "dispatched", "failed"):
            record.sudo().status = status
            record.action_follow()
            self.commit()
            self.assertEqual(record.status, "failed" if status == "failed" else "completed")
        record.sudo().write({"status": "waiting", "version": 0})
        told = {"requestId": record.request_id, "status": "completed", "version": 3}
        self.bridge.say("POST", client.REQUESTS, 200, told)
        self.env["aigen.image.request"]._cron_push()
        self.commit()
        self.assertEqual((record.status, record.attachment_id), ("completed", first))

    def test_the_daily_cron_asks_about_old_open_requests_only(self):
        old, fresh = self.underway(), self.underway()
        self.env.cr.execute("UPDATE aigen_image_request SET write_date = '2020-01-01' WHERE id = %s", [old.id])
        place = f"{client.REQUESTS}/{old.request_id}"
        answer = {"requestId": old.request_id, "status": "failed", "version": 2, "errorCode": "timed_out"}
        self.bridge.say("GET", place, 200, answer)
        self.env["aigen.image.request"]._cron_reconcile()
        self.commit()
        self.assertEqual((old.status, fresh.status), ("failed", "queued"))
        self.assertIn("did not answer in time", old.explanation)

    def test_a_manager_puts_a_failed_one_back(self):
        record = self.underway()
        self.apply({"requestId": record.request_id, "version": 2, "status": "failed", "errorCode": "dispatch_failed"})
        letters = {
            "items": [{"id": "entry-6", "requestId": "other"}, {"id": "entry-7", "requestId": record.request_id}]
        }
        self.bridge.say("GET", f"{client.OPS}/dead-letters", 200, letters)
        self.bridge.say("POST", f"{client.OPS}/dead-letters/entry-7/replay", 200, {"id": "entry-7"})
        self.bridge.say(
            "GET",
            f"{client.REQUESTS}/{record.request_id}",
            200,
            {"requestId": record.request_id, "status": "queued", "version": 3},
        )
        record.with_user(self.mia).action_retrigger()
        self.commit()
        self.assertEqual((record.status, record.version, record.error_code), ("queued", 3, False))
        self.assertEqual(len(self.bridge.sent(path=f"{client.OPS}/dead-letters/entry-7/replay")), 1)

    def failed(self, code, replayable=None):
        """A request that failed with this code, and what the bridge says about sending it again."""
        record = self.underway()
        told = {"requestId": record.request_id, "version": 2, "status": "failed", "errorCode": code}
        self.apply(told if replayable is None else told | {"replayable": replayable})
        return record

    def test_only_what_the_bridge_can_send_again_is_offered_for_it(self):
        cases = [
            ("timed_out", True, True), ("maybe_paid", True, True), ("content_policy", False, False),
            ("timed_out", False, False), ("timed_out", None, True), ("workflow_failed", None, True),
            ("content_policy", None, False),
        ]  # fmt: skip
        for code, said, offered in cases:
            self.assertEqual(self.failed(code, said).replayable, offered, (code, said))
        record = self.failed("content_policy")
        with self.assertRaisesRegex(UserError, "can be sent again"):
            record.with_user(self.mia).action_retrigger()
        self.pull(record, status="failed", version=2, errorCode="content_policy", replayable=True)
        self.assertTrue(record.replayable, "the bridge knows best")

    def test_one_that_may_have_been_paid_for_is_sent_again_only_by_who_agrees(self):
        paid, late = self.failed("maybe_paid", True), self.failed("timed_out", True)
        with self.assertRaisesRegex(UserError, "may have been paid for"):
            paid.with_user(self.mia).action_retrigger()
        for record in (paid, late):
            again = {"requestId": record.request_id, "status": "queued", "version": 3, "replayable": False}
            self.bridge.say("POST", f"{client.OPS}/requests/{record.request_id}/replay", 200, again)
            self.bridge.say("GET", f"{client.REQUESTS}/{record.request_id}", 200, again)
        (paid + late).with_user(self.mia).action_retrigger()
        self.commit()
        self.assertEqual((paid.status, late.status), ("failed", "queued"))
        paid.with_user(self.mia).with_context(aigen_may_pay_again=True).action_retrigger()
        self.commit()
        self.assertEqual(paid.status, "queued")

    def test_a_manager_has_one_that_timed_out_sent_again_and_its_clock_starts_anew(self):
        record = self.failed("timed_out", True)
        record.sudo().started_at = at("18:00")
        path = f"{client.OPS}/requests/{record.request_id}/replay"
        again = {"requestId": record.request_id, "status": "queued", "version": 3, "replayable": False}
        self.bridge.say("POST", path, 200, again)
        self.bridge.say(
            "GET", f"{client.REQUESTS}/{record.request_id}", 200, again | {"status": "dispatched", "version": 4}
        )
        shown = self.toasts()
        record.with_user(self.mia).action_retrigger()
        self.commit()
        self.assertEqual((record.status, record.version, record.replayable), ("dispatched", 4, False))
        self.assertLess(record.elapsed, 60)
        self.assertEqual(shown, [(self.mia, "It is on its way again.", "success")])
        self.assertEqual(len(self.bridge.sent(path=path)), 1)
        self.assertFalse([where for _, where, _, _ in self.bridge.calls if "dead-letters" in where])

    def test_the_clock_starts_anew_whoever_sent_it_again(self):
        record = self.failed("timed_out", True)
        record.sudo().started_at = at("18:00")
        self.pull(record, status="dispatched", version=4)
        self.assertLess(record.elapsed, 60)

    def test_what_cannot_be_sent_again_is_said_to_the_manager(self):
        refused = {"code": "request_ended", "detail": "N8N reported it."}
        cases = [
            (409, refused, "nothing to put back"),
            (404, {"code": "request_unknown"}, "nothing to put back"),
            (403, {}, "scope “ops”"),
        ]
        for status, problem, words in cases:
            record = self.failed("timed_out", True)
            place = f"{client.REQUESTS}/{record.request_id}"
            self.bridge.say("POST", f"{client.OPS}/requests/{record.request_id}/replay", status, problem)
            self.bridge.say(
                "GET",
                place,
                200,
                {"requestId": record.request_id, "status": "failed", "version": 2, "replayable": False},
            )
            shown = self.toasts()
            record.with_user(self.mia).action_retrigger()
            self.commit()
            [(user, said, kind)] = shown
            self.assertEqual((user, kind, words in said), (self.mia, "warning", True), said)
            self.assertFalse(record.replayable)

    def test_refresh_sends_what_waits_and_says_what_came_out(self):
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        record = self.draft()
        record.action_generate()
        self.commit()
        shown = self.toasts()
        record.action_refresh()
        self.commit()
        parameters.set_param("aigen_image.bridge_url", self.bridge.url)
        self.bridge.takes_requests()
        record.action_refresh()
        self.commit()
        (_, away, warning), (user, sent, info) = shown
        self.assertEqual((user, warning, info, record.status), (self.ann, "warning", "info", "queued"))
        self.assertIn("not reachable at the moment", away)
        self.assertIn("A lighthouse at dusk: In the queue", sent)
        self.assertEqual(len(self.bridge.sent()), 1)
        with self.assertRaisesRegex(UserError, "Generate"):
            self.draft().action_refresh()

    def test_what_a_content_policy_refused_is_said_in_other_words(self):
        for code, refused in (("content_policy_violation", True), ("nsfw_content", True), ("ai_http_500", False)):
            record = self.failed(code)
            self.assertEqual(record.refused, refused, code)
        again = self.env["aigen.image.request"].browse(record.action_change_words()["res_id"])
        self.assertEqual((again.status, again.prompt), ("draft", record.prompt))

    def test_every_change_of_the_status_is_told_to_the_person_and_to_managers(self):
        sent = []

        def keep(channel, kind, message, **_more):
            sent.append((channel, kind, message))

        for model in ("res.users", "res.groups"):
            self.patch(self.registry[model], "_bus_send", keep)
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        record = self.draft()
        record.action_generate()
        self.commit()
        record.action_cancel()
        managers = self.env.ref("aigen_image.group_manager")
        for channel, kind, has_name in ((self.ann, "update", True), (managers, "moved", False)):
            told = [
                message for where, name, message in sent if (where, name) == (channel, f"aigen_image.request/{kind}")
            ]
            self.assertEqual([news["status"] for news in told], ["waiting", "waiting", "cancelled"])
            self.assertEqual({"name" in news for news in told}, {has_name}, "managers get no words of others")

    def test_another_one_has_the_same_wishes_and_an_identity_of_its_own(self):
        record = self.underway(seed=7, shape="9:16")
        again = self.env["aigen.image.request"].browse(record.action_generate_again()["res_id"])
        same = self.env["aigen.image.request"].browse(record.action_same_seed()["res_id"])
        vary = self.env["aigen.image.request"].browse(record.action_vary()["res_id"])
        self.assertEqual({one.shape for one in again + same + vary}, {"9:16"})
        self.assertEqual((again.status, same.status, vary.status), ("waiting", "draft", "waiting"))
        self.assertEqual(same.seed, 7)
        self.assertNotEqual(vary.seed, 7)
        self.assertEqual(len({one.request_id for one in record + again + same + vary}), 4)

    def test_the_same_seed_is_the_one_that_gave_the_picture(self):
        record = self.underway(seed=7)
        self.apply(payload(record, generation={"seed": 8}))
        same = self.env["aigen.image.request"].browse(record.action_same_seed()["res_id"])
        self.assertEqual((same.seed, same.seed_used, same.status), (8, False, "draft"))
        other = self.underway(seed=7)
        self.apply(payload(other, generation={"seed": 2**63 - 1}))
        with self.assertRaisesRegex(UserError, "9223372036854775807.*2147483647"):
            other.action_same_seed()
        zero = self.underway(seed=7)
        self.apply(payload(zero, generation={"seed": 0}))  # here, 0 stands for a new seed
        with self.assertRaisesRegex(UserError, "seed 0 "):
            zero.action_same_seed()

    @mute_logger("odoo.sql_db")
    def test_wishes_outside_their_limits_are_refused_in_words(self):
        for nothing in ("  \n ", "\u200b\u2800\ufe0f"):
            with self.assertRaisesRegex(ValidationError, "what the picture should show"):
                self.draft(prompt=nothing)
        with self.assertRaisesRegex(ValidationError, "at most 4000"):
            self.draft(prompt="x" * 4001)
