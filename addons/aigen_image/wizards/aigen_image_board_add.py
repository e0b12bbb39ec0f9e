from odoo import fields, models
from odoo.exceptions import UserError


class AigenImageBoardAdd(models.TransientModel):
    """Asks on which board to put pictures. A new one is made by writing its name."""

    _name = "aigen.image.board.add"
    _description = "Add AI images to a board"

    board_id = fields.Many2one(
        "aigen.image.board",
        required=True,
        domain=lambda self: ["|", ("user_id", "=", self.env.uid), ("others_add", "=", True)],
    )
    request_ids = fields.Many2many("aigen.image.request")

    def action_add(self):
        """Put those on it that are one's own and ready, and say how many."""
        ready = self.request_ids.exists()._filtered_access("write").filtered("attachment_id")
        if not ready:
            raise UserError(self.env._("Only pictures that are yours and ready can be put on a board."))
        new = self.board_id.add_pictures(ready)
        words = [self.env._("%(number)s of the pictures are new on “%(board)s”.", number=len(new), board=self.board_id.name)]
        if left_out := len(self.request_ids - ready):
            words.append(self.env._("%s were left out: they are not yours, or not ready.", left_out))
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "warning" if left_out else "success",
                "message": " ".join(words),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }
