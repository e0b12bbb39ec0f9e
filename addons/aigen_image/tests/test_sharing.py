from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from .common import AigenCase, payload, picture

RULES = "odoo.addons.base.models.ir_rule"


class SharingCase(AigenCase):
    """A board of Ann with one picture, and people of all kinds."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.eve = new_test_user(cls.env, "aigen_eve", groups="base.group_user,aigen_image.group_user")
        cls.portal = new_test_user(cls.env, "aigen_portal", groups="base.group_portal")
        cls.team = cls.env["res.groups"].create({"name": "The team"})
        cls.team._aigen_add_users(cls.eve.ids)

    def setUp(self):
        super().setUp()
        self.picture = self.ready()
        self.board = self.env["aigen.image.board"].with_user(self.ann).create({"name": "Autumn"})
        self.board.add_pictures(self.picture.ids)
        self.item = self.board.item_ids

    def ready(self, user=None, **told):
        """A picture that has arrived."""
        record = self.underway(user=user or self.ann)
        self.apply(payload(record, **told))
        return record

    def share(self, *users, **values):
        """Share the board with these people."""
        ids = [user.id for user in users]
        self.board.write({"visibility": "shared", "user_ids": [Command.set(ids)], **values})

    def reads(self, records, field):
        """Whether the field is readable: for attachments, Odoo 18 knows it only then."""
        try:
            return bool(records.read([field]))
        except AccessError:
            return False

    def assertSees(self, user, *, sees):
        """The board, its picture, the file and what was written about it are seen together or not at all."""
        self.env.flush_all()
        self.env.invalidate_all()
        file, messages = self.picture.sudo().attachment_id, self.picture.sudo().message_ids
        self.assertTrue(file and messages)
        for record, field in (
            (self.board, "name"),
            (self.item, "sequence"),
            (self.picture, "prompt"),
            (file, "raw"),
            (messages, "body"),
        ):
            self.assertEqual(self.reads(record.with_user(user), field), sees, (user.login, record))
        for record in (self.board, self.item, self.picture):
            if record.with_user(user).browse().has_access("read"):
                found = record.with_user(user).with_context(active_test=False).search([("id", "=", record.id)])
                self.assertEqual(bool(found), sees, record)
            if user not in (self.ann, self.mia):
                for operation in ("write", "unlink"):
                    self.assertFalse(record.with_user(user).has_access(operation), (operation, record))


@tagged("post_install", "-at_install")
class TestSharing(SharingCase):
    """Who sees a board, and with it its pictures."""

    def test_a_private_board_is_seen_by_its_owner_and_by_managers(self):
        for user, sees in ((self.ann, True), (self.mia, True), (self.bob, False), (self.eve, False)):
            self.assertSees(user, sees=sees)

    def test_people_without_the_group_see_nothing_also_when_it_is_shared_with_them(self):
        self.share(self.stranger, self.portal)
        for user in (self.stranger, self.portal, self.robot):
            self.assertSees(user, sees=False)
        self.board.visibility = "company"
        for user in (self.stranger, self.portal):
            self.assertSees(user, sees=False)

    def test_a_board_is_shared_with_a_person_and_revoked(self):
        self.share(self.bob)
        self.assertSees(self.bob, sees=True)
        self.assertSees(self.eve, sees=False)
        self.share()
        self.assertSees(self.bob, sees=False)

    def test_people_who_are_named_see_nothing_while_it_is_private(self):
        self.share(self.bob)
        self.board.visibility = "private"
        self.assertSees(self.bob, sees=False)

    def test_a_board_is_shared_with_a_group_until_one_leaves_it(self):
        self.board.write({"visibility": "shared", "group_ids": [Command.set(self.team.ids)]})
        self.assertSees(self.eve, sees=True)
        self.assertSees(self.bob, sees=False)
        members = "user_ids" if "user_ids" in self.team._fields else "users"
        self.team[members] -= self.eve
        self.assertSees(self.eve, sees=False)

    def test_a_board_of_the_company_is_not_seen_from_another_company(self):
        self.board.visibility = "company"
        self.assertSees(self.bob, sees=True)
        other = self.env["res.company"].create({"name": "Elsewhere"})
        self.bob.write({"company_ids": [Command.set(other.ids)], "company_id": other.id})
        self.assertSees(self.bob, sees=False)
        self.share(self.bob)
        self.assertSees(self.bob, sees=False)

    def test_archiving_and_deleting_a_board_or_taking_a_picture_off_ends_the_sharing(self):
        self.share(self.bob)
        self.board.active = False
        self.assertSees(self.bob, sees=False)
        self.assertSees(self.ann, sees=True)
        self.board.active = True
        self.board.remove_pictures(self.picture.ids)
        self.assertFalse(self.picture.with_user(self.bob).has_access("read"))
        self.board.add_pictures(self.picture.ids)
        self.assertTrue(self.picture.with_user(self.bob).has_access("read"))
        self.board.unlink()
        self.assertFalse(self.picture.with_user(self.bob).has_access("read"))
        self.assertTrue(self.picture.exists())

    def test_a_picture_on_two_boards_stays_seen_until_the_last_one_is_revoked(self):
        second = self.board.copy({"name": "Winter", "visibility": "shared", "user_ids": [Command.set(self.bob.ids)]})
        second.add_pictures(self.picture.ids)
        self.share(self.bob)
        self.share()
        self.assertTrue(self.picture.with_user(self.bob).has_access("read"))
        self.assertEqual(self.picture.with_user(self.bob).board_ids, second)
        self.assertEqual(self.picture.board_ids, self.board + second)
        second.user_ids = False
        self.env.invalidate_all()
        self.assertFalse(self.picture.with_user(self.bob).has_access("read"))

    @mute_logger(RULES)
    def test_who_reads_a_shared_picture_changes_nothing_and_puts_it_on_no_board(self):
        self.share(self.bob)
        theirs = self.picture.with_user(self.bob)
        own = self.env["aigen.image.board"].with_user(self.bob).create({"name": "Mine"})
        open_to_all = (
            self.env["aigen.image.board"]
            .with_user(self.ann)
            .create({"name": "Ours", "visibility": "company", "others_add": True})
        )
        calls = {
            "put on an own board": lambda: own.add_pictures(theirs.ids),
            "put on the shared board of others": lambda: open_to_all.with_user(self.bob).add_pictures(theirs.ids),
            "write": lambda: theirs.write({"rating": "5"}),
            "delete": theirs.unlink,
            "cancel": theirs.action_cancel,
            "rename the board": lambda: self.board.with_user(self.bob).write({"name": "Mine now"}),
            "invite others": lambda: self.board.with_user(self.bob).write({"user_ids": [Command.link(self.eve.id)]}),
            "set the order": lambda: self.item.with_user(self.bob).write({"sequence": 1}),
            "take it off": lambda: self.board.with_user(self.bob).remove_pictures(self.picture.ids),
            "choose the cover": lambda: self.board.with_user(self.bob).set_cover(self.picture.id),
        }
        for what, call in calls.items():
            with self.subTest(what), self.assertRaises(AccessError):
                call()
                self.env.flush_all()

    @mute_logger(RULES)
    def test_others_add_own_pictures_where_they_may_and_take_them_off(self):
        mine = self.ready(self.bob)
        with self.assertRaises(AccessError):
            self.board.with_user(self.bob).add_pictures(mine.ids)
        self.share(self.bob)
        with self.assertRaises(AccessError):
            self.board.with_user(self.bob).add_pictures(mine.ids)
        self.board.others_add = True
        board = self.board.with_user(self.bob)
        self.assertEqual((board.may_add, board.may_edit), (True, False))
        board.add_pictures(mine.ids)
        self.assertTrue(mine.with_user(self.ann).has_access("read"), "the board's owner sees it")
        self.assertFalse(mine.with_user(self.ann).has_access("write"))
        with self.assertRaises(AccessError):
            board.remove_pictures(self.picture.ids)
        board.remove_pictures(mine.ids)
        self.assertEqual(self.board.item_ids.request_id, self.picture)

    @mute_logger(RULES)
    def test_the_boards_owner_removes_and_arranges_others_pictures_but_moves_them_nowhere(self):
        theirs = self.ready(self.bob)
        self.share(self.bob, others_add=True)
        self.board.with_user(self.bob).add_pictures(theirs.ids)
        item = self.board.item_ids.filtered(lambda item: item.request_id == theirs).with_user(self.ann)
        item.sequence = 0
        second = self.board.copy({"name": "For everybody", "visibility": "company"})
        with self.assertRaises(AccessError), self.env.cr.savepoint():
            item.board_id = second
        self.item.board_id = second  # this one is Ann's own
        self.board.remove_pictures(theirs.ids)
        self.assertFalse(theirs.with_user(self.ann).has_access("read"))

    @mute_logger(RULES)
    def test_nobody_hands_a_board_to_another_person_or_company_but_managers(self):
        for values in ({"user_id": self.bob.id}, {"company_id": self.env.company.id}):
            with self.assertRaises(AccessError):
                self.board.write(values)
        with self.assertRaises(AccessError):
            self.env["aigen.image.board"].with_user(self.ann).create({"name": "Bob's", "user_id": self.bob.id})
        self.board.with_user(self.mia).user_id = self.bob
        self.assertTrue(self.board.with_user(self.bob).has_access("write"))


@tagged("post_install", "-at_install")
class TestSharedBytes(SharingCase, HttpCase):
    """The addresses of a picture's bytes answer as long as it is shared."""

    def _share_transaction(self):
        """`HttpCase` does."""

    def bytes_of(self, url):
        self.env.flush_all()
        self.env.invalidate_all()
        return self.url_open(url).content

    def test_the_addresses_answer_until_the_board_is_revoked(self):
        content = picture("crimson")
        self.picture = self.ready(content=content)
        self.board.add_pictures(self.picture.ids)
        file = self.picture.attachment_id.id
        addresses = [
            f"/web/content/{file}?download=true",
            f"/web/image/{file}",
            f"/web/image/{file}/32x32",
            f"/web/image/aigen.image.request/{self.picture.id}/thumbnail",
        ]
        self.share(self.bob)
        self.authenticate(self.bob.login, self.bob.login)
        shown = [self.bytes_of(url) for url in addresses]
        self.assertEqual(shown[0], content)
        self.assertEqual(shown[1], content)
        self.share()
        for url, before in zip(addresses, shown, strict=True):
            self.assertNotEqual(self.bytes_of(url), before, url)

    def test_no_token_outlives_the_share(self):
        """Odoo 19 gives whoever reads a chatter tokens for its files that hold for weeks."""
        of_board = {"name": "plan.txt", "raw": b"x", "res_model": self.board._name, "res_id": self.board.id}
        for file in (self.picture.attachment_id, self.env["ir.attachment"].create(of_board)):
            self.assertFalse(file._get_raw_access_token() or file._get_thumbnail_token())
            self.assertFalse(file.access_token)
