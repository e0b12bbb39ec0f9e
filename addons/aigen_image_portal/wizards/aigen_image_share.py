from odoo import api, fields, models

DAYS = [("1", "1 day"), ("7", "7 days"), ("30", "30 days")]


class AigenImageShare(models.TransientModel):
    """The dialog about the link of one picture or board."""

    _name = "aigen.image.share"
    _description = "Share AI images by link"

    request_id = fields.Many2one("aigen.image.request", ondelete="cascade")
    board_id = fields.Many2one("aigen.image.board", ondelete="cascade")
    title = fields.Char(
        compute="_compute_title", compute_sudo=False, store=True, readonly=False, precompute=True, required=True
    )
    days = fields.Selection(DAYS, "Works for", required=True, default="7")
    shared_until = fields.Datetime("Works until", compute="_compute_link")
    url = fields.Char("Link", compute="_compute_link")

    def _target(self):
        return self.request_id or self.board_id

    def _link(self):
        """Return the link, for those who may share. Its fields may be in the cache, whoever asks."""
        target = self._target()
        return target.link_ids if target.has_access("write") else target.link_ids.browse()

    @api.depends("request_id", "board_id")
    def _compute_title(self):
        for dialog in self:
            dialog.title = dialog._link().title or dialog._plain_title()

    def _plain_title(self):
        """Return the name of the board. That of a picture has words of its prompt, which the page does not show."""
        return self.board_id.name or self.env._("Picture")

    @api.depends("request_id.link_ids.expires_at", "board_id.link_ids.expires_at")
    def _compute_link(self):
        for dialog in self:
            link = dialog._link().filtered(lambda one: not one._is_expired())
            dialog.shared_until = link.expires_at
            dialog.url = link._address() if link else False

    def action_share(self):
        """Make the link or a new one, and show it."""
        self.ensure_one()
        self.env["aigen.image.link"]._share(self._target(), self.title, int(self.days))
        return self._target().action_share_link() | {"res_id": self.id}

    def action_stop(self):
        self._link().action_stop()
