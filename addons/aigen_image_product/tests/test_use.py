import base64

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from odoo.addons.aigen_image.tests.common import payload, picture

from .common import ProductCase


@tagged("post_install", "-at_install")
class TestUse(ProductCase):
    def test_each_of_several_pictures_is_for_the_record_also_one_that_is_tried_again(self):
        self.bridge.takes_requests()
        context = self.lamp.with_user(self.ann).action_make_picture()["context"]
        values = {"model_id": self.model.id, "variants": "3"}
        draft = self.env["aigen.image.request"].with_user(self.ann).with_context(**context).create(values)
        draft.action_generate()
        self.commit()
        pictures = draft.batch_id.request_ids.sorted("batch_place")
        failed = payload(pictures[2], status="failed", errorCode="workflow_failed", errorMessage="")
        for told in (payload(pictures[1], content=picture("navy")), failed):
            self.apply(told)
        draft.batch_id.action_try_again()
        self.assertEqual(draft.batch_id.request_ids.mapped("target_name"), ["Desk lamp"] * 3)
        pictures[1].with_user(self.ann).action_use()
        self.assertShows("navy")

    """A picture is written to a record by the person's own rights, once, and can be taken back."""

    def test_a_picture_is_made_for_a_record_and_used_there(self):
        action = self.lamp.with_user(self.ann).action_make_picture()
        values = {"prompt": action["context"]["default_prompt"], "model_id": self.model.id}
        request = self.env["aigen.image.request"].with_user(self.ann).with_context(**action["context"]).create(values)
        self.assertEqual((request.target_name, request.target_state), ("Desk lamp", False))
        self.bridge.takes_requests()
        request.action_generate()
        self.commit()
        self.apply({"requestId": request.request_id, "version": 2, "status": "dispatched"})
        with self.assertRaisesRegex(UserError, "no picture yet"):
            request.action_use()
        self.assertShows(None)

    def test_twice_is_once(self):
        record = self.for_lamp(self.ready())
        first = record.action_use()
        self.assertEqual(first["params"]["message"], "“Desk lamp” has this picture now.")
        self.assertShows("teal")
        self.patch(self.registry["product.template"], "write", lambda *_args: self.fail("It was written again."))
        second = record.action_use()
        self.assertEqual(second["params"]["use_id"], first["params"]["use_id"])
        self.assertEqual((len(record.use_ids), record.target_state, record.is_at_target), (1, "used", True))

    def test_undo_restores_what_was_there(self):
        self.lamp.image_1920 = base64.b64encode(picture("red"))
        record = self.for_lamp(self.ready())
        record.action_use()
        self.assertShows("teal")
        record.action_undo_use()
        self.assertShows("red")
        record.action_undo_use()
        self.assertShows("red")
        self.assertEqual(record.target_state, "undone")
        record.action_use()
        self.assertShows("teal")

    def test_undo_restores_nothing_where_there_was_nothing(self):
        record = self.for_lamp(self.ready())
        record.action_use()
        record.action_undo_use()
        self.assertShows(None)

    def test_undo_leaves_what_somebody_else_has_put_there_since(self):
        record = self.for_lamp(self.ready())
        record.action_use()
        self.lamp.image_1920 = base64.b64encode(picture("red"))
        self.env.invalidate_all()
        self.assertFalse(record.is_at_target)
        with self.assertRaisesRegex(UserError, "another picture by now"):
            record.action_undo_use()
        self.assertShows("red")

    def test_pictures_replace_each_other_and_come_back(self):
        first, second = (self.for_lamp(self.ready(colour)) for colour in ("teal", "red"))
        first.action_use()
        second.action_use()
        self.assertEqual((first.is_at_target, second.is_at_target), (False, True))
        second.action_undo_use()
        self.env.invalidate_all()
        self.assertShows("teal")
        self.assertEqual((first.is_at_target, second.is_at_target), (True, False))

    @mute_logger("odoo.addons.base.models.ir_rule", "odoo.addons.base.models.ir_model")
    def test_whoever_may_not_change_the_record_may_not_give_it_a_picture(self):
        record = self.for_lamp(self.ready(user=self.bob), self.bob)
        with self.assertRaisesRegex(UserError, "may not change"):
            record.action_use()
        with self.assertRaisesRegex(UserError, "may not change"):
            self.lamp.with_user(self.bob).action_make_picture()
        self.assertShows(None)
        self.assertFalse(record.use_ids)

    @mute_logger("odoo.addons.base.models.ir_rule", "odoo.addons.base.models.ir_model")
    def test_whoever_lost_the_right_may_not_undo(self):
        record = self.for_lamp(self.ready())
        record.action_use()
        self.env["ir.rule"].create(
            {
                "name": "No lamps",
                "model_id": self.env["ir.model"]._get_id("product.template"),
                "domain_force": f"[('id', '!=', {self.lamp.id})]",
                "perm_read": False,
            }
        )
        with self.assertRaisesRegex(UserError, "may not change"):
            record.action_undo_use()
        self.assertShows("teal")

    def test_nobody_uses_a_picture_that_is_not_shown_to_them(self):
        record = self.for_lamp(self.ready(user=self.bob), self.ann)
        with self.assertRaises(AccessError):
            record.action_use()
        self.assertShows(None)

    def test_a_picture_of_a_shared_board_is_used_by_others(self):
        record = self.ready(user=self.bob)
        board = (
            self.env["aigen.image.board"]
            .with_user(self.bob)
            .create({"name": "Lamps", "visibility": "shared", "user_ids": [Command.set(self.ann.ids)]})
        )
        self.env["aigen.image.board.item"].with_user(self.bob).create({"board_id": board.id, "request_id": record.id})
        self.for_lamp(record, self.ann).action_use()
        self.assertShows("teal")
        use = record.with_user(self.bob).use_ids
        self.assertEqual((use.user_id, use.place), (self.ann, "Desk lamp (Product)"))

    def test_two_people_use_the_same_picture_for_the_same_record(self):
        """Neither may read the use of the other."""
        self.carl = new_test_user(
            self.env, "aigen_carl", groups="base.group_user,aigen_image.group_user,product.group_product_manager"
        )
        record = self.ready(user=self.bob)
        board = self.env["aigen.image.board"].with_user(self.bob).create({"name": "Lamps", "visibility": "company"})
        board.add_pictures(record.ids)
        self.for_lamp(record, self.ann).action_use()
        self.env.invalidate_all()
        said = self.for_lamp(record, self.carl).action_use()["params"]
        self.assertEqual((said["type"], said["use_id"]), ("success", False))
        self.lamp.image_1920 = False
        self.env.invalidate_all()
        said = self.for_lamp(record, self.carl).action_use()["params"]
        self.assertTrue(said["use_id"])
        self.assertShows("teal")

    def test_a_record_that_was_deleted_is_told(self):
        record = self.for_lamp(self.ready(target_model="product.template", target_id=self.lamp.id))
        record.action_use()
        use = record.use_ids
        self.lamp.unlink()
        self.env.invalidate_all()
        self.assertEqual((record.target_name, use.place, use.is_current), (False, "Product", False))
        for call in (record.action_use, use.action_undo):
            with self.assertRaisesRegex(UserError, "was deleted"):
                call()

    def test_a_field_that_became_read_only_is_told(self):
        record = self.for_lamp(self.ready())
        self.patch(self.registry["product.template"]._fields["image_1920"], "readonly", True)
        with self.assertRaisesRegex(UserError, "cannot be changed"):
            record.action_use()

    def test_a_write_that_fails_leaves_nothing_half_done(self):
        record = self.for_lamp(self.ready())

        def refuse(_self, _vals):
            raise RuntimeError

        with self.assertRaises(RuntimeError), self.env.cr.savepoint():
            self.patch(self.registry["product.template"], "write", refuse)
            record.action_use()
        self.assertFalse(record.use_ids)
        self.assertShows(None)

    def test_the_image_from_before_is_read_by_nobody(self):
        self.lamp.image_1920 = base64.b64encode(picture("red"))
        record = self.for_lamp(self.ready())
        record.action_use()
        self.assertTrue(record.use_ids.sudo().old_image)
        for user in (self.ann, self.mia):
            with self.assertRaises(AccessError):
                record.use_ids.with_user(user).read(["old_image"])

    def test_uses_are_seen_by_those_who_see_the_picture_and_written_by_nobody(self):
        record = self.for_lamp(self.ready())
        record.action_use()
        use = record.use_ids
        self.assertFalse(self.env["aigen.image.use"].with_user(self.bob).search([]))
        for user in (self.ann, self.mia):
            with self.assertRaises(AccessError):
                use.with_user(user).write({"state": "undone"})

    def test_what_it_was_made_for_stands_once_it_is_asked_for(self):
        record = self.ready()
        with self.assertRaises(UserError):
            record.write({"target_model": "product.template", "target_id": self.lamp.id})
        with self.assertRaisesRegex(ValidationError, "cannot be made"):
            self.draft(target_model="res.users", target_id=self.env.uid)

    def test_another_one_is_for_the_same_record(self):
        record = self.ready(target_model="product.template", target_id=self.lamp.id)
        again = self.env["aigen.image.request"].browse(record.action_vary()["res_id"])
        self.assertEqual((again.target_model, again.target_id), ("product.template", self.lamp.id))
        self.assertEqual(self.lamp.with_user(self.ann).aigen_picture_count, 1)
        self.assertEqual(self.lamp.with_user(self.bob).aigen_picture_count, 0)
        self.assertEqual(self.lamp.with_user(self.stranger).aigen_picture_count, 0)

    def test_choosing_begins_with_what_was_made_for_the_record(self):
        lamp = self.lamp.with_user(self.ann)
        self.assertFalse(lamp.action_choose_picture()["context"]["search_default_for_target"])
        record = self.ready(target_model="product.template", target_id=self.lamp.id)
        action = lamp.with_user(self.ann).action_choose_picture()
        self.assertTrue(action["context"]["search_default_for_target"])
        found = self.env["aigen.image.request"].with_user(self.ann).search(action["domain"])
        self.assertIn(record, found)

    def test_before_it_is_deleted_it_is_said_where_it_is_used(self):
        record = self.for_lamp(self.ready())
        self.assertNotIn("record", record.describe_deletion())
        record.action_use()
        self.assertIn("1 record uses it, and keeps it.", record.describe_deletion())
        record.unlink()
        self.assertShows("teal")
