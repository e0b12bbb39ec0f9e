from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .test_sharing import RULES, SharingCase

NAME = {"fields": {"display_name": {}}}


@tagged("post_install", "-at_install")
class TestNames(SharingCase):
    """Names have words of prompts. References show them to those who may read the record, and to nobody else."""

    def test_a_reference_that_a_person_writes_tells_no_words_of_others(self):
        board = self.env["aigen.image.board"].with_user(self.bob).create({"name": "Mine"})
        board.cover_id = self.picture.id
        self.env.invalidate_all()
        self.assertEqual(board.read(["cover_id"])[0]["cover_id"], (self.picture.id, "AI image"))
        [told] = board.web_read({"cover_id": NAME})
        self.assertEqual(told["cover_id"]["display_name"], "AI image")
        self.share(self.bob)
        self.env.invalidate_all()
        self.assertEqual(board.read(["cover_id"])[0]["cover_id"], (self.picture.id, "A lighthouse at dusk"))

    def test_a_default_of_a_form_tells_no_words_of_others(self):
        batch = self.picture.sudo()._new_batch()
        for model, field, record, words in (
            ("aigen.image.board.item", "request_id", self.picture, "AI image"),
            ("aigen.image.board.add", "board_id", self.board, "AI image board"),
            ("aigen.image.request", "batch_id", batch, "AI images asked for together"),
        ):
            for user, name in ((self.bob, words), (self.ann, record.name)):
                self.env.invalidate_all()
                form = self.env[model].with_user(user).with_context(**{f"default_{field}": record.id})
                told = form.onchange({}, [], {field: NAME})["value"][field]
                self.assertEqual(told["display_name"], name, (model, user.login))

    def test_a_form_for_a_board_tells_no_words_of_others(self):
        for user, name in ((self.bob, "AI image"), (self.ann, self.picture.name)):
            self.env.invalidate_all()
            form = self.env["aigen.image.board.item"].with_user(user)
            told = form.onchange({"request_id": self.picture.id}, ["request_id"], {"name": {}, "request_id": {}})
            self.assertEqual(told["value"]["name"], name)

    @mute_logger(RULES)
    def test_the_refusal_in_developer_mode_tells_no_words(self):
        self.env.invalidate_all()
        with self.debug_mode(), self.assertRaises(AccessError) as refusal:
            self.picture.with_user(self.bob).read(["prompt"])
        self.assertIn(f"AI image (aigen.image.request: {self.picture.id}", str(refusal.exception))

    def test_odoo_itself_and_the_owner_read_the_names(self):
        self.assertEqual(self.picture.display_name, "A lighthouse at dusk")
        self.assertEqual(self.env["aigen.image.request"].browse(self.picture.id).display_name, "A lighthouse at dusk")
        self.assertEqual(self.item.name, "A lighthouse at dusk")
