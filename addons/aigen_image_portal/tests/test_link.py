from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from odoo.addons.aigen_image.tests.common import AigenCase

from .common import LinkCase


@tagged("post_install", "-at_install")
class TestLink(LinkCase, AigenCase):
    """Who may share by a link, and what the dialog does."""

    def dialog(self, target):
        """The dialog of “Share link”, as it opens."""
        action = target.action_share_link()
        return Form(target.env[action["res_model"]].with_context(**action["context"]))

    def test_the_owner_and_managers_share_a_picture_and_others_may_not(self):
        one = self.ready()
        self.board(one).write({"visibility": "shared", "user_ids": [(6, 0, self.bob.ids)]})
        self.assertTrue(one.with_user(self.bob).has_access("read"))
        self.assertFalse(one.with_user(self.bob).can_share_link)
        for call in (one.with_user(self.bob).action_share_link, lambda: self.share(one.with_user(self.bob))):
            with self.assertRaises(AccessError):
                call()
        for user in (self.ann, self.mia):
            self.assertTrue(one.with_user(user).can_share_link)
            self.assertTrue(self.share(one.with_user(user)))

    def test_people_without_an_email_address_share_and_stop_it(self):
        self.ann.partner_id.email = False
        one = self.ready()
        self.share(one.with_user(self.ann))
        self.assertEqual(one.message_ids[:1].author_id, self.ann.partner_id)
        one.with_user(self.ann).link_ids.action_stop()
        self.assertFalse(one.link_ids)

    def test_the_owner_and_managers_share_a_board_and_others_may_not(self):
        board = self.board()
        board.visibility = "company"
        self.assertFalse(board.with_user(self.bob).can_share_link)
        with self.assertRaises(AccessError):
            self.share(board.with_user(self.bob))
        for user in (self.ann, self.mia):
            self.assertTrue(self.share(board.with_user(user)))

    def test_the_dialog_of_someone_else_neither_shares_nor_tells_the_address(self):
        one = self.ready()
        self.share(one)
        self.board(one).write({"visibility": "shared", "user_ids": [(6, 0, self.bob.ids)]})
        self.env.invalidate_all()
        dialog = self.env["aigen.image.share"].with_user(self.bob).create({"request_id": one.id})
        self.assertFalse(dialog.url)
        with self.assertRaises(AccessError):
            dialog.action_share()
        dialog.action_stop()
        self.env.invalidate_all()
        self.assertTrue(one.link_ids)
        with self.assertRaises(AccessError):
            one.link_ids.with_user(self.bob).action_stop()

    def test_whoever_may_add_to_a_board_knows_that_it_has_a_link(self):
        board = self.board()
        board.write({"visibility": "company", "others_add": True})
        self.assertFalse(board.with_user(self.bob).shared_until)
        link = self.share(board)
        self.env.invalidate_all()
        self.assertEqual(board.with_user(self.bob).shared_until, link.expires_at)
        self.assertFalse(board.with_user(self.bob).link_ids)

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_a_dialog_is_read_by_whoever_opened_it(self):
        dialog = self.dialog(self.ready()).save()
        self.assertFalse(dialog.with_user(self.bob).search([]))
        with self.assertRaises(AccessError):
            dialog.with_user(self.bob).read(["title"])

    def test_whoever_sees_a_shared_picture_does_not_get_the_token(self):
        one = self.ready()
        link = self.share(one)
        self.board(one).write({"visibility": "shared", "user_ids": [(6, 0, self.bob.ids)]})
        self.env.invalidate_all()
        self.assertFalse(one.with_user(self.bob).link_ids)
        with self.assertRaises(AccessError):
            link.with_user(self.bob).read(["access_token"])
        with self.assertRaises(AccessError):
            link.with_user(self.ann).write({"expires_at": "2100-01-01 00:00:00"})

    def test_the_dialog_makes_a_link_renews_it_and_ends_it(self):
        one = self.ready()
        form = self.dialog(one)
        self.assertEqual((form.title, form.url), ("Picture", False))
        form.title, form.days = "For the client", "1"
        dialog = form.save()
        self.assertEqual(dialog.action_share()["res_id"], dialog.id)
        link = one.link_ids
        first = dialog.url
        self.assertEqual(first, f"{one.get_base_url()}/aigen/shared/{link.id}?access_token={link.access_token}")
        self.assertAlmostEqual(one.shared_until, fields.Datetime.now() + timedelta(days=1), delta=timedelta(minutes=1))
        form = self.dialog(one)
        self.assertEqual((form.title, form.url), ("For the client", first))
        dialog = form.save()
        dialog.action_share()
        self.assertEqual(one.link_ids, link)
        self.assertNotEqual(dialog.url, first)
        dialog.action_stop()
        self.assertFalse(link.exists())
        self.assertFalse(dialog.url)

    def test_the_chatter_tells_until_when_and_not_where(self):
        one = self.ready()
        token = self.share(one).access_token
        one.link_ids.action_stop()
        stopped, shared = one.message_ids[:2]
        self.assertIn("Shared by link until", shared.body)
        self.assertIn("No longer shared", stopped.body)
        self.assertEqual(shared.author_id, self.ann.partner_id)
        self.assertNotIn(token, "".join(one.message_ids.mapped("body")))

    def test_pictures_that_are_shared_by_link_are_found(self):
        one, _other = self.ready(), self.ready()
        link = self.share(one)
        requests = self.env["aigen.image.request"].with_user(self.ann)
        self.assertEqual(requests.search([("shared_until", "!=", False)]), one)
        link.expires_at = fields.Datetime.now()
        self.assertFalse(requests.search([("shared_until", "!=", False)]))
        self.assertFalse(one.shared_until)

    def test_a_picture_that_is_not_ready_is_not_shared(self):
        with self.assertRaises(UserError):
            self.draft().action_share_link()

    def test_an_administrator_switches_links_off(self):
        one = self.ready()
        self.env["res.config.settings"].create({"aigen_links": False}).set_values()
        self.assertFalse(one.can_share_link)
        with self.assertRaisesRegex(UserError, "switched off"):
            one.action_share_link()
        self.env["res.config.settings"].create({"aigen_links": True}).set_values()
        self.assertTrue(self.share(one))
