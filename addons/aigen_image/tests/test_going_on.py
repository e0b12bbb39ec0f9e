from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import AigenCase, payload
from .test_offer import OFFER


@tagged("post_install", "-at_install")
class TestGoingOn(AigenCase):
    def ready(self, user=None, **values):
        record = self.underway(user=user, **values)
        self.apply(payload(record))
        return record

    def opened(self, action):
        return self.env["aigen.image.request"].with_user(self.ann).browse(action["res_id"])

    def share(self, *pictures):
        board = self.env["aigen.image.board"].with_user(self.ann).create({"name": "Autumn", "visibility": "company"})
        for picture in pictures:
            board.item_ids = [(0, 0, {"request_id": picture.id})]
        self.env.flush_all()
        self.env.invalidate_all()
        return board

    def test_vary_asks_at_once_edit_prompt_and_same_seed_wait_for_other_words(self):
        record = self.ready(seed=7)
        vary, edit, same = (
            self.opened(action())
            for action in (record.action_vary, record.action_change_words, record.action_same_seed)
        )
        self.assertEqual([one.status for one in (vary, edit, same)], ["waiting", "draft", "draft"])
        self.assertEqual([one.seed == 7 for one in (vary, edit, same)], [False, False, True])
        self.assertEqual((vary | edit | same).sudo().parent_id, record)

    def test_larger_keeps_words_and_seed_and_takes_the_next_size(self):
        self.model.offer = OFFER
        record = self.ready(shape="16:9", detail="standard", seed=7, steps=20)
        self.assertEqual(record.larger, "1920x1088")
        larger = self.opened(record.action_larger())
        self.commit()
        event = self.bridge.sent()[-1]
        self.assertEqual((event["resolution"], event["seed"], event["prompt"]), ("1920x1088", 7, record.prompt))
        self.assertFalse(larger.larger)
        with self.assertRaisesRegex(UserError, "no larger size"):
            larger.action_larger()
        self.model.offer = OFFER | {"seed": False}
        self.env.invalidate_all()
        self.assertFalse(record.larger, "without a seed it would be another picture")

    def test_another_one_of_an_archived_picture_is_not_archived(self):
        record = self.ready()
        record.active = False
        self.assertTrue(self.opened(record.action_vary()).active)

    def test_a_second_try_of_a_failed_one_was_made_from_the_same_picture(self):
        record = self.ready()
        failed = self.opened(record.action_vary())
        self.commit()
        self.apply({"requestId": failed.request_id, "version": 2, "status": "failed", "errorCode": "x"})
        again = self.opened(failed.action_generate_again())
        self.assertEqual(again.sudo().parent_id, record)
        self.assertEqual([one["id"] for one in record.lineage["children"]], [again.id])

    def test_lineage_shows_what_a_person_may_see_and_no_words_of_the_rest(self):
        parent = self.ready(prompt="A secret plan")
        child = self.opened(parent.action_vary())
        self.commit()
        self.apply(payload(child))
        self.assertEqual(child.lineage["parent"]["name"], "A secret plan")
        self.assertIn(f"/{parent.id}/thumbnail", child.lineage["parent"]["source"])
        self.share(child)
        theirs = child.with_user(self.bob)
        self.assertEqual(theirs.lineage["parent"], {})
        with self.assertRaises(AccessError), mute_logger("odoo.models", "odoo.orm.models"):
            theirs.read(["parent_id"])
        self.assertEqual(parent.lineage["children"][0]["id"], child.id)
        self.assertNotIn("parent", parent.lineage)

    def test_children_of_others_are_shown_only_to_those_who_see_them(self):
        parent = self.ready()
        self.share(parent)
        action = parent.with_user(self.bob).action_vary()
        theirs = self.env["aigen.image.request"].with_user(self.bob).browse(action["res_id"])
        self.commit()
        self.assertEqual((theirs.user_id, theirs.status, theirs.sudo().parent_id), (self.bob, "queued", parent))
        self.assertEqual(theirs.lineage["parent"]["id"], parent.id)
        self.assertEqual(parent.lineage["children"], [])
        self.assertEqual(len(parent.with_user(self.mia).lineage["children"]), 1)

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_who_may_not_read_a_picture_cannot_go_on_from_it(self):
        record = self.ready().with_user(self.bob)
        for name in ("vary", "generate_again", "change_words", "same_seed", "larger"):
            with self.assertRaises(AccessError, msg=name):
                getattr(record, f"action_{name}")()

    def test_a_deleted_parent_is_no_parent(self):
        parent = self.ready()
        child = self.opened(parent.action_change_words())
        parent.unlink()
        self.assertNotIn("parent", child.lineage)


@tagged("post_install", "-at_install")
class TestRecentPrompts(AigenCase):
    def prompts(self, words="", user=None, **how):
        found = self.env["aigen.image.request"].with_user(user or self.ann).recent_prompts(words, **how)
        return [one["prompt"] for one in found]

    def test_the_last_prompts_of_the_person_each_once_newest_first(self):
        for prompt in ("A boat", "A kite", "A boat", "A 100% <b>tree</b>"):
            self.underway(prompt=prompt)
        self.draft(prompt="Never sent")
        self.underway(user=self.bob, prompt="Of Bob")
        self.assertEqual(self.prompts(), ["A 100% <b>tree</b>", "A boat", "A kite"])
        self.assertEqual(self.prompts("KITE"), ["A kite"])
        self.assertEqual(self.prompts("<b>"), ["A 100% <b>tree</b>"])
        self.assertEqual(self.prompts("nothing"), [])
        self.assertEqual(self.prompts(user=self.mia), [], "a manager's own")

    def test_prompts_of_favourites_are_those_that_the_person_may_see(self):
        mine, theirs = self.underway(prompt="Mine"), self.underway(user=self.bob, prompt="Shared")
        hidden = self.underway(user=self.bob, prompt="Hidden")
        (mine + theirs + hidden).sudo().favorite_user_ids = self.ann
        board = self.env["aigen.image.board"].with_user(self.bob).create({"name": "B", "visibility": "company"})
        board.item_ids = [(0, 0, {"request_id": theirs.id})]
        self.assertEqual(self.prompts(favorites=True), ["Shared", "Mine"])

    def test_they_are_read_with_few_queries(self):
        for number in range(5):
            self.underway(prompt=f"A boat {number}")
        self.env.flush_all()
        self.env.invalidate_all()
        self.prompts()
        self.env.invalidate_all()
        with self.assertQueryCount(5):
            self.assertEqual(len(self.prompts()), 5)
