"""Pictures, boards and links of the tests."""

from odoo.addons.aigen_image.tests.common import payload, picture


class LinkCase:
    """For test cases with the people of `AigenCase`, or people of these names of their own."""

    def ready(self, user=None, content=None, **values):
        """A picture that is there."""
        vals = {"prompt": "Secret words", "model_id": self.model.id} | values
        record = self.env["aigen.image.request"].with_user(user or self.ann).create(vals)
        told = payload(record, content=content or picture())
        self.env["aigen.image.request"].with_user(self.robot).bridge_apply_result(told)
        self.assertEqual(record.status, "completed")
        return record

    def board(self, *pictures, user=None):
        board = self.env["aigen.image.board"].with_user(user or self.ann).create({"name": "Autumn"})
        for one in pictures:
            self.put(one, board)
        return board

    def put(self, one, board):
        """As superuser: who may put what onto a board is another matter."""
        return self.env["aigen.image.board.item"].sudo().create({"board_id": board.id, "request_id": one.id})

    def share(self, target, title="A title", days=7):
        """The link, as superuser."""
        self.env["aigen.image.link"].with_user(target.env.user)._share(target, title, days)
        return target.link_ids.sudo()
