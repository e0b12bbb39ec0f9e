from psycopg2 import IntegrityError

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .test_sharing import RULES, SharingCase


@tagged("post_install", "-at_install")
class TestBoard(SharingCase):
    """What is on a board, in which order, and what stands for it."""

    def pictures(self, number):
        """So many ready ones of Ann."""
        records = self.env["aigen.image.request"].with_user(self.ann)
        for _number in range(number):
            records += self.ready()
        return records

    def add(self, board, requests, user=None):
        """Answer the question which board to put these on."""
        question = requests.with_user(user or self.ann).action_add_to_board()
        wizard = self.env[question["res_model"]].with_user(user or self.ann).with_context(**question["context"])
        return wizard.create({"board_id": board.id}).action_add()["params"]

    def test_pictures_are_added_once_each_at_the_end(self):
        more = self.pictures(2)
        words = self.add(self.board, more + self.picture)
        self.assertEqual(words["type"], "success")
        self.assertIn("2 of the pictures are new on “Autumn”", words["message"])
        self.assertEqual(self.board.item_ids.request_id, self.picture + more)
        self.assertIn("0 of the pictures", self.add(self.board, more)["message"])
        self.assertEqual(self.board.picture_count, 3)
        with self.assertRaises(IntegrityError), mute_logger("odoo.sql_db"), self.env.cr.savepoint():
            self.item.copy()

    def test_a_board_is_made_by_writing_its_name(self):
        board_id, _name = self.env["aigen.image.board"].with_user(self.ann).name_create("<b>Winter</b>")
        board = self.env["aigen.image.board"].with_user(self.ann).browse(board_id)
        self.add(board, self.picture)
        self.assertEqual(
            (board.user_id, board.visibility, board.item_ids.request_id), (self.ann, "private", self.picture)
        )

    @mute_logger(RULES)
    def test_what_is_not_ones_own_or_not_ready_is_left_out_and_said(self):
        self.share(self.bob, others_add=True)
        mine, new = self.ready(self.bob), self.draft(self.bob)
        words = self.add(self.board, mine + new + self.picture, user=self.bob)
        self.assertEqual(words["type"], "warning")
        self.assertIn("2 were left out", words["message"])
        self.assertEqual(self.board.item_ids.request_id, self.picture + mine)
        with self.assertRaisesRegex(UserError, "yours and ready"):
            self.add(self.board, self.picture, user=self.bob)
        with self.assertRaises(AccessError):
            self.draft(self.ann).with_user(self.bob).action_add_to_board()

    @mute_logger(RULES)
    def test_nobody_learns_what_is_on_a_board_by_adding_it(self):
        with self.assertRaises(AccessError):
            self.board.with_user(self.bob).add_pictures(self.picture.ids)

    def test_a_board_that_was_deleted_meanwhile_takes_nothing(self):
        question = self.picture.action_add_to_board()
        wizard = self.env[question["res_model"]].with_user(self.ann).with_context(**question["context"])
        wizard = wizard.create({"board_id": self.board.id})
        self.board.unlink()
        self.assertFalse(wizard.exists(), "the question goes with it")

    def test_the_gallery_of_a_board_has_its_order_and_other_galleries_have_theirs(self):
        second, third = self.pictures(2)
        self.add(self.board, second + third)
        first, last = self.board.item_ids[0], self.board.item_ids[-1]
        first.sequence, last.sequence = last.sequence, first.sequence
        action = self.board.action_open()
        requests = self.env["aigen.image.request"].with_user(self.ann)
        of_board = requests.with_context(**action["context"])
        self.assertEqual(of_board.search(action["domain"]), third + second + self.picture)
        self.assertEqual(of_board.search(action["domain"], limit=1, offset=1), second)
        self.assertEqual(requests.search(action["domain"]), third + second + self.picture)
        first.sequence = -1
        self.assertEqual(of_board.search(action["domain"])[0], self.picture)
        self.assertEqual(requests.search(action["domain"])[0], third)
        self.assertEqual(of_board.search(action["domain"], order="id")[0], self.picture)

    def test_the_first_four_stand_for_a_board_or_the_chosen_one(self):
        self.assertEqual([one["id"] for one in self.board.covers], self.picture.ids)
        more = self.pictures(4)
        self.board.add_pictures(more.ids)
        self.assertEqual([one["id"] for one in self.board.covers], (self.picture + more[:3]).ids)
        self.board.set_cover(more[3].id)
        self.assertEqual([one["id"] for one in self.board.covers], more[3].ids)
        self.board.remove_pictures(more[3].ids)
        self.assertEqual(len(self.board.covers), 4)
        with self.assertRaisesRegex(UserError, "not on the board"):
            self.board.set_cover(more[3].id)
        more[0].active = False
        self.assertEqual([one["id"] for one in self.board.covers], (self.picture + more[1:3]).ids)
        self.assertEqual(self.board.picture_count, 3)
        more[1].unlink()
        self.assertEqual(self.board.picture_count, 2)

    def test_covers_of_many_boards_are_read_with_as_few_queries_as_those_of_one(self):
        boards = self.board
        for number in range(12):
            boards += self.board.copy({"name": str(number)})
        self.assertFalse(boards[-1].covers)
        for board in boards[1:]:
            board.add_pictures(self.picture.ids)
        self.env.flush_all()
        self.env.invalidate_all()
        boards.mapped("name")
        with self.assertQueryCount(4):
            self.assertEqual({len(board.covers) for board in boards}, {1})
        self.assertIn(
            f"/web/image/aigen.image.request/{self.picture.id}/thumbnail?unique=", self.board.covers[0]["src"]
        )
        self.picture.sudo().thumbnail = False
        self.env.invalidate_all()
        self.assertIn(f"/web/image/{self.picture.attachment_id.id}/512x512", self.board.covers[0]["src"])

    def test_a_picture_of_another_company_is_put_on_no_board(self):
        other = self.env["res.company"].create({"name": "Elsewhere"})
        self.ann.company_ids = [Command.link(other.id)]
        both = {"allowed_company_ids": (self.env.company + other).ids}
        elsewhere = self.env["aigen.image.board"].with_user(self.ann).with_company(other).create({"name": "There"})
        with self.assertRaisesRegex(UserError, "company|companies"):
            elsewhere.with_context(**both).add_pictures(self.picture.with_context(**both).ids)

    def test_boards_are_found_by_what_is_and_is_not_on_them(self):
        other = self.ready()
        requests = self.env["aigen.image.request"].with_user(self.ann)
        mine = [("id", "in", (self.picture + other).ids)]
        self.assertEqual(requests.search([*mine, ("board_ids", "in", self.board.ids)]), self.picture)
        self.assertEqual(requests.search([*mine, ("board_ids", "ilike", "autu")]), self.picture)
        self.assertEqual(requests.search([*mine, ("board_ids", "not in", self.board.ids)]), other)

    def test_columns_without_pictures_are_shown_where_pictures_are_arranged(self):
        empty = self.board.copy({"name": "Empty"})
        self.env["aigen.image.board"].with_user(self.bob).create({"name": "Of Bob"})
        items = self.env["aigen.image.board.item"].with_user(self.ann).with_context(read_group_expand=True)
        domain = [("board_id.user_id", "=", self.ann.id)]
        if hasattr(items, "formatted_read_group"):  # since Odoo 19
            groups = items.formatted_read_group(domain, ["board_id"], ["__count"])
        else:
            groups = items.read_group(domain, ["board_id"], ["board_id"])
        self.assertEqual({group["board_id"][0] for group in groups}, {self.board.id, empty.id})

    def test_a_name_with_markup_stays_text(self):
        self.board.write({"name": "<img src=x onerror=alert(1)>", "visibility": "shared"})
        self.board.user_ids = self.bob
        body = self.env["mail.message"].search([("model", "=", self.board._name)], limit=1).body
        self.assertNotIn("<img", body)
        self.assertIn("&lt;img", body)


@tagged("post_install", "-at_install")
class TestBoardIsTold(SharingCase):
    """Who a board is shared with by name gets a message; nobody hears that it is shared no longer."""

    def setUp(self):
        super().setUp()
        self.before = self.env["mail.message"].search([], limit=1).id

    def told(self):
        """The people who were told in this test, by their logins."""
        self.env.flush_all()
        messages = self.env["mail.message"].search(
            [("id", ">", self.before), ("message_type", "=", "user_notification")], order="id"
        )
        return sorted(messages.notified_partner_ids.user_ids.mapped("login"))

    def test_each_person_is_told_once_and_of_revoking_nobody(self):
        self.share(self.bob)
        self.assertEqual(self.told(), ["aigen_bob"])
        self.share(self.bob, self.eve)
        self.assertEqual(self.told(), ["aigen_bob", "aigen_eve"])
        messages = self.env["mail.message"].search_count([])
        self.share()
        self.board.visibility = "private"
        self.assertEqual(self.env["mail.message"].search_count([]), messages)

    def test_people_without_an_email_address_share_too(self):
        self.ann.partner_id.email = False
        self.bob.notification_type = "inbox"
        self.share(self.bob)
        self.assertEqual(self.told(), ["aigen_bob"])

    def test_who_is_named_is_told_when_the_board_is_no_longer_private(self):
        self.board.user_ids = self.bob
        self.assertEqual(self.told(), [])
        self.board.visibility = "shared"
        self.assertEqual(self.told(), ["aigen_bob"])

    def test_those_who_cannot_see_it_are_not_told(self):
        self.share(self.stranger, self.ann)
        self.assertEqual(self.told(), [])

    def test_a_board_that_is_created_as_shared_is_told(self):
        values = {"name": "Spring", "visibility": "shared", "user_ids": [Command.set(self.bob.ids)]}
        self.env["aigen.image.board"].with_user(self.ann).create(values)
        self.assertEqual(self.told(), ["aigen_bob"])

    def test_it_arrives_as_the_person_handles_notifications(self):
        self.bob.notification_type = "inbox"
        self.share(self.bob, self.eve)
        kinds = self.env["mail.notification"].search([("mail_message_id", ">", self.before)])
        self.assertEqual(
            {one.res_partner_id.user_ids.login: one.notification_type for one in kinds},
            {"aigen_bob": "inbox", "aigen_eve": "email"},
        )

    def test_who_follows_what_is_shared_hears_of_it_no_longer_than_it_is(self):
        self.share(self.bob)
        for record in (self.board, self.picture):
            record.message_subscribe(self.bob.partner_id.ids)
        for is_shared in (True, False):
            for record in (self.board, self.picture):
                message = record.message_post(body="x", message_type="comment", subtype_xmlid="mail.mt_comment")
                self.assertEqual(self.bob.partner_id in message.notified_partner_ids, is_shared, record)
            self.share()

    def test_people_who_see_a_board_write_about_it_and_its_pictures(self):
        self.share(self.bob)
        for record in (self.board, self.picture):
            record.with_user(self.bob).message_post(body="<b>Nice</b>")
            self.assertIn("&lt;b&gt;Nice", record.message_ids[0].body)
        with self.assertRaises(AccessError):
            self.picture.with_user(self.eve).message_post(body="x")
