from decimal import Decimal

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from ..bridge import client
from .common import AigenCase, payload


@tagged("post_install", "-at_install")
class TestBatch(AigenCase):
    """Several pictures with one action: variants, alternatives, and what can be done with all of them."""

    def setUp(self):
        super().setUp()
        self.bridge.takes_requests()

    def ask(self, user=None, **values):
        """Ask for pictures, and return them in their order."""
        draft = self.draft(user, **values)
        action = draft.action_generate()
        self.commit()
        self.assertEqual(action["context"]["aigen_batch_id"], draft.batch_id.id)
        return draft.batch_id.request_ids.sorted("batch_place")

    def events(self):
        return [(event["prompt"], event["seed"]) for event in self.bridge.sent()]

    def test_variants_are_requests_of_their_own_with_new_seeds(self):
        tag = self.env["aigen.image.tag"].create({"name": "Summer"})
        pictures = self.ask(variants="4", seed=7, shape="16:9", tag_ids=[tag.id])
        self.assertEqual(pictures.mapped("status"), ["queued"] * 4)
        for name in ("request_id", "correlation_id", "seed"):
            self.assertEqual(len(set(pictures.mapped(name))), 4, name)
        self.assertEqual(pictures[0].seed, 7)
        self.assertEqual({event["requestId"] for event in self.bridge.sent()}, set(pictures.mapped("request_id")))
        self.assertEqual([seed for _prompt, seed in self.events()], pictures.mapped("seed"))
        for picture in pictures:
            self.assertEqual(
                (picture.user_id, picture.shape, picture.tag_ids, picture.steps), (self.ann, "16:9", tag, 28)
            )
        batch = pictures.batch_id
        self.assertEqual((batch.user_id, batch.name, batch.variants), (self.ann, "A lighthouse at dusk", "4"))

    def test_one_picture_is_no_batch(self):
        draft = self.draft()
        self.assertFalse(draft.action_generate())
        self.assertFalse(draft.batch_id)

    def test_alternatives_are_prompts_that_differ_in_nothing_else(self):
        pictures = self.ask(prompt=r"a {red|blue} \{boat\}", variants="2", seed=7)
        self.assertEqual(pictures.mapped("prompt"), [r"a red \{boat\}"] * 2 + [r"a blue \{boat\}"] * 2)
        seeds = pictures.mapped("seed")
        self.assertEqual(seeds, [7, seeds[1]] * 2)
        self.assertEqual([prompt for prompt, _seed in self.events()], ["a red {boat}"] * 2 + ["a blue {boat}"] * 2)
        self.assertEqual(pictures.batch_id.prompt, r"a {red|blue} \{boat\}")

    def test_what_it_gives_is_known_before_it_is_sent(self):
        self.model.offer = {"price": {"amount": "0.035", "currency": "USD", "per": "image"}}
        draft = self.draft(prompt="a {red|<b>blue</b>} boat", variants="3")
        self.assertEqual(draft.matrix_prompts, ["a red boat", "a <b>blue</b> boat"])
        self.assertEqual((draft.picture_count, draft.estimated_total), (6, "0.21 USD"))
        self.assertEqual(draft.estimated_cost, "0.035 USD")
        draft.write({"prompt": "a boat", "variants": "1"})
        self.assertFalse(draft.matrix_prompts)
        self.assertEqual((draft.picture_count, draft.estimated_total), (1, "0.035 USD"))

    def test_a_prompt_that_gives_too_many_or_has_wrong_braces_is_refused_in_words(self):
        wrong = {
            "a {red|blue boat": "not closed",
            "a red|blue} boat": "never opened",
            "a {red|{light|dark} blue} boat": "nested",
            "{1|2|3|4|5}{1|2|3|4|5}": "25 pictures",
            "{1|2|3|4|5|6|7|8|9|10}" * 4: "more than 1000 pictures",
        }
        for prompt, words in wrong.items():
            draft = self.draft(prompt=prompt)
            self.assertIn(words, draft.matrix_error)
            self.assertEqual(draft.picture_count, 0)
            with self.assertRaisesRegex(UserError, words):
                draft.action_generate()
            self.assertEqual((draft.status, draft.batch_id.id), ("draft", False))
        with self.assertRaises(UserError):
            self.draft(prompt="{1|2|3|4|5}", variants="5").action_generate()
        with self.assertRaises(ValidationError):
            self.draft(prompt="{|a boat}").action_generate()
        self.assertEqual(self.bridge.sent(), [])

    def test_pressed_twice_it_is_asked_for_once_and_both_see_the_same_pictures(self):
        draft = self.draft(variants="3")
        actions = [draft.action_generate() for _ in range(2)]
        self.commit()
        self.assertEqual(len(self.bridge.sent()), 3)
        self.assertEqual(actions[0]["context"], actions[1]["context"])

    def test_only_the_owner_and_managers_see_and_change_a_batch(self):
        batch = self.ask(variants="2").batch_id
        self.assertEqual(batch.with_user(self.mia).picture_count, 2)
        for method in ("action_open", "action_cancel", "action_try_again", "action_more", "unlink"):
            with self.assertRaises(AccessError, msg=method):
                getattr(batch.with_user(self.bob), method)()
        for values in ({"batch_id": batch.id}, {"batch_place": 1}):
            with self.assertRaises(AccessError):
                self.draft(self.ann, **values)

    def test_whoever_sees_a_picture_on_a_board_reads_it_without_its_batch(self):
        pictures = self.ask(prompt="A {red|blue} boat")
        board = self.env["aigen.image.board"].with_user(self.ann).create({"name": "Boats", "visibility": "company"})
        board.item_ids = [Command.create({"request_id": pictures[0].id})]
        wanted = {"name": {}, "batch_id": {"fields": {"display_name": {}}}, "can_try_again": {}}
        theirs = pictures[0].with_user(self.bob)
        [told] = theirs.web_read(wanted)
        self.assertEqual(told["name"], "A red boat")
        words = "AI images asked for together"
        self.assertEqual(told["batch_id"]["display_name"], words, "its name has the words of all pictures")
        self.assertEqual(theirs.read(["batch_id"])[0]["batch_id"][1], words)
        self.assertEqual(pictures.batch_id.with_user(self.ann).display_name, "A {red|blue} boat")

    def test_the_budgets_are_asked_about_all_pictures(self):
        self.model.offer = {"price": {"amount": "0.035", "currency": "USD", "per": "image"}}
        wishes = {"model_id": self.model.id, "resolution": "1024x1024", "number": 4}
        self.assertEqual(self.env["aigen.money.left"]._price(wishes), (Decimal("0.14"), "USD"))

    def test_a_manager_who_asks_for_a_draft_of_somebody_asks_in_that_name(self):
        draft = self.draft(variants="2")
        draft.with_user(self.mia).action_generate()
        self.commit()
        pictures = draft.batch_id.request_ids
        self.assertEqual((pictures.user_id, draft.batch_id.user_id), (self.ann, self.ann))
        self.assertEqual({event["userId"] for event in self.bridge.sent()}, {self.ann.aigen_uuid})

    def test_what_was_asked_for_arrives_although_the_person_loses_the_right_meanwhile(self):
        draft = self.draft(variants="3")
        draft.action_generate()
        group = self.env.ref("aigen_image.group_user")
        group["user_ids" if "user_ids" in group._fields else "users"] -= self.ann
        self.commit()
        pictures = draft.sudo().batch_id.request_ids
        self.assertEqual(pictures.mapped("status"), ["queued"] * 3)
        for picture in pictures:
            self.apply(payload(picture))
        self.assertEqual(pictures.mapped("status"), ["completed"] * 3)
        with self.assertRaises(AccessError):
            draft.action_generate()

    def test_a_batch_says_how_far_it_is_and_what_it_costs(self):
        self.model.offer = {"price": {"amount": "0.035", "currency": "USD", "per": "image"}}
        pictures = self.ask(variants="3")
        batch = pictures.batch_id
        self.assertEqual((batch.picture_count, batch.open_count, batch.cost), (3, 3, "about 0.105 USD"))
        self.apply(payload(pictures[0], cost={"amount": "0.04", "currency": "USD", "basis": "billed"}))
        self.apply(payload(pictures[1], status="failed", errorCode="workflow_failed", errorMessage=""))
        self.env.invalidate_all()
        self.assertEqual((batch.ready_count, batch.open_count, batch.failed_count), (1, 1, 1))
        self.assertEqual(batch.cost, "about 0.075 USD")
        pictures[2].sudo().write(
            {"status": "completed", "cost_amount": "0.10", "cost_currency": "EUR", "cost_basis": "billed"}
        )
        pictures[2].sudo().cost_further = "0.50 GBP + 0.01 USD"
        self.assertEqual(batch.cost, "0.10 EUR + 0.50 GBP + 0.05 USD")

    def test_cancel_all_leaves_what_is_ready(self):
        pictures = self.ask(variants="3")
        self.apply(payload(pictures[0]))
        pictures.batch_id.with_user(self.ann).action_cancel()
        self.assertEqual(pictures.mapped("status"), ["completed", "cancelled", "cancelled"])

    def give_up(self, picture, code="workflow_failed", words=""):
        self.apply(payload(picture, status="failed", errorCode=code, errorMessage=words))
        self.env.invalidate_all()

    def test_what_failed_is_tried_again_in_its_place_and_once(self):
        pictures = self.ask(variants="3")
        batch, failed = pictures.batch_id, pictures[1]
        self.give_up(failed)
        self.assertTrue(failed.can_try_again)
        batch.with_user(self.ann).action_try_again()
        failed.with_user(self.ann).action_try_again()  # in another tab
        self.commit()
        [again] = batch.request_ids - pictures
        self.assertEqual((again.batch_place, again.seed, again.status), (1, failed.seed, "queued"))
        self.assertNotEqual(again.request_id, failed.request_id)
        self.assertEqual((failed.active, batch.picture_count, batch.failed_count), (False, 3, 0))
        self.apply(payload(failed, version=5))
        self.assertEqual((failed.status, failed.active), ("completed", True))

    def test_in_bulk_nothing_is_tried_again_that_may_be_paid_for_or_would_be_refused_again(self):
        pictures = self.ask(variants="3")
        for picture, code in zip(pictures, ("maybe_paid", "content_policy_violation", "timed_out"), strict=True):
            self.give_up(picture, code)
        self.assertEqual(pictures.mapped("can_try_again"), [True, False, True])
        batch = pictures.batch_id.with_user(self.ann)
        self.assertEqual(batch.failed_count, 1)
        batch.action_try_again()
        self.assertEqual(pictures.mapped("active"), [True, True, False])
        with self.assertRaises(UserError):
            pictures[1].action_try_again()

    def test_what_was_refused_is_said_in_other_words_in_its_place(self):
        pictures = self.ask(variants="2")
        self.give_up(pictures[1], "content_policy_violation")
        other = self.env["aigen.image.request"].browse(pictures[1].with_user(self.ann).action_change_words()["res_id"])
        self.assertEqual((other.status, other.batch_id, other.batch_place), ("draft", pictures.batch_id, 1))
        self.assertFalse(pictures[1].active)

    def test_other_words_for_a_picture_that_is_ready_leave_it_where_it_is(self):
        pictures = self.ask(variants="2")
        self.apply(payload(pictures[0]))
        board = self.env["aigen.image.board"].with_user(self.ann).create({"name": "Boats", "visibility": "company"})
        board.item_ids = [Command.create({"request_id": pictures[0].id})]
        self.env.invalidate_all()
        for user in (self.ann, self.bob, self.mia):
            other = self.env["aigen.image.request"].browse(pictures[0].with_user(user).action_change_words()["res_id"])
            self.assertEqual((other.status, other.user_id, other.batch_id.id), ("draft", user, False))
        self.assertTrue(pictures[0].active)

    def test_a_manager_tries_again_in_the_name_of_the_person_and_takes_no_place_with_other_words(self):
        tag = self.env["aigen.image.tag"].create({"name": "Summer"})
        pictures = self.ask(variants="2", tag_ids=[tag.id])
        self.give_up(pictures[0])
        self.give_up(pictures[1], "content_policy_violation")
        pictures.batch_id.with_user(self.mia).action_try_again()
        [again] = pictures.batch_id.request_ids - pictures
        self.assertEqual((again.user_id, again.company_id, again.tag_ids), (self.ann, pictures.company_id, tag))
        pictures[1].with_user(self.mia).action_change_words()
        self.assertTrue(pictures[1].active)

    def test_more_of_one_in_a_batch_come_behind_those_before_it(self):
        pictures = self.ask(variants="3")
        self.give_up(pictures[2], "content_policy_violation")
        other = self.env["aigen.image.request"].browse(pictures[2].with_user(self.ann).action_change_words()["res_id"])
        other.variants = "2"
        other.with_user(self.ann).action_generate()
        self.assertEqual(pictures.batch_id.request_ids.sorted("batch_place").mapped("batch_place"), [0, 1, 2, 3])

    def test_braces_in_a_prompt_from_before_there_were_alternatives_are_words(self):
        for prompt in ("a {red|blue} boat", "a { b", "a {{subject}}"):
            picture = self.draft()
            picture.sudo().write({"prompt": prompt, "status": "completed"})
            varied = self.env["aigen.image.request"].browse(picture.action_vary()["res_id"])
            self.commit()
            self.assertFalse(varied.batch_id, prompt)
            self.assertEqual(self.bridge.sent()[-1]["prompt"], prompt)

    def test_one_of_a_batch_is_varied_alone(self):
        pictures = self.ask(variants="2")
        self.apply(payload(pictures[0]))
        varied = self.env["aigen.image.request"].browse(pictures[0].with_user(self.ann).action_vary()["res_id"])
        self.assertEqual((varied.status, varied.batch_id.id, varied.variants), ("waiting", False, "1"))
        self.assertEqual(varied.sudo().parent_id, pictures[0])

    def test_what_a_budget_refuses_waits_as_a_draft_and_is_sent_again_with_its_own_id(self):
        problem = {"code": "budget_exceeded", "detail": "Nothing is left."}
        taken = []

        def status(event):
            taken.append(event["requestId"])
            return 202 if len(taken) < 3 else 402

        def told(event):
            return {"requestId": event["requestId"], "status": "queued", "version": 1} if len(taken) < 3 else problem

        self.bridge.say("POST", client.REQUESTS, status, told)
        pictures = self.ask(variants="4")
        self.assertEqual(pictures.mapped("status"), ["queued", "queued", "draft", "draft"])
        self.assertIn("Nothing is left", pictures[3].explanation)
        batch = pictures.batch_id.with_user(self.ann)
        self.assertEqual(batch.failed_count, 2)
        self.bridge.takes_requests()
        batch.action_try_again()
        self.commit()
        self.assertEqual(pictures.mapped("status"), ["queued"] * 4)
        self.assertEqual(len({event["requestId"] for event in self.bridge.sent()}), 4)

    def test_more_of_these_opens_the_same_wishes_to_be_asked_for_again(self):
        pictures = self.ask(prompt="a {red|blue} boat", variants="2", shape="16:9")
        batch = pictures.batch_id.with_user(self.ann)
        more = self.env["aigen.image.request"].browse(batch.action_more()["res_id"])
        self.assertEqual(
            (more.status, more.prompt, more.variants, more.shape), ("draft", "a {red|blue} boat", "2", "16:9")
        )
        self.assertFalse(more.batch_id)
        pictures.sudo().write({"status": "completed"})
        pictures.unlink()
        with self.assertRaises(UserError):
            batch.action_more()
        batch.sudo()._gc_empty()
        self.assertFalse(batch.exists())

    def test_a_draft_with_a_parent_hands_it_on(self):
        parent = self.draft()
        draft = self.draft(variants="2")
        draft.sudo().parent_id = parent
        draft.action_generate()
        self.assertEqual(draft.batch_id.request_ids.sudo().parent_id, parent)
        self.assertEqual(len(parent.sudo().child_ids), 2)
