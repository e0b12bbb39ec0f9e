from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from .common import AigenCase


@tagged("post_install", "-at_install")
class TestSharing(AigenCase):
    """Who sees a board, and with it its pictures."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.eve = new_test_user(cls.env, "aigen_eve", groups="base.group_user,aigen_image.group_user")
        cls.team = cls.env["res.groups"].create({"name": "The team"})
        cls.team._aigen_add_users(cls.eve.ids)

    def setUp(self):
        super().setUp()
        self.picture = self.draft()
        self.board = self.env["aigen.image.board"].with_user(self.ann).create({"name": "Autumn"})
        self.item = self.env["aigen.image.board.item"].with_user(self.ann).create(
            {"board_id": self.board.id, "request_id": self.picture.id}
        )

    def assertSees(self, user, *, sees):
        self.env.flush_all()
        self.env.invalidate_all()
        for record in (self.board, self.item, self.picture):
            found = self.env[record._name].with_user(user).search([("id", "=", record.id)])
            self.assertEqual(bool(found), sees, record)
            self.assertEqual(record.with_user(user).has_access("read"), sees, record)
            if user != self.ann:
                with self.assertRaises(AccessError):
                    record.with_user(user).check_access("write")

    def test_a_private_board_is_seen_by_its_owner_only(self):
        self.assertSees(self.ann, sees=True)
        self.assertSees(self.bob, sees=False)

    def test_a_board_is_shared_with_a_person_and_revoked(self):
        self.board.write({"visibility": "shared", "user_ids": [(6, 0, self.bob.ids)]})
        self.assertSees(self.bob, sees=True)
        self.assertSees(self.eve, sees=False)
        self.board.write({"user_ids": [(5,)]})
        self.assertSees(self.bob, sees=False)

    def test_a_board_is_shared_with_a_group(self):
        self.board.write({"visibility": "shared", "group_ids": [(6, 0, self.team.ids)]})
        self.assertSees(self.eve, sees=True)
        self.assertSees(self.bob, sees=False)

    def test_a_board_of_the_company_is_not_seen_from_another_company(self):
        self.board.visibility = "company"
        self.assertSees(self.bob, sees=True)
        other = self.env["res.company"].create({"name": "Elsewhere"})
        self.bob.write({"company_ids": [(6, 0, other.ids)], "company_id": other.id})
        self.assertSees(self.bob, sees=False)
