from odoo import api, fields, models


class AigenImageLinked(models.AbstractModel):
    """For what can be shared by a link. A model that inherits it has the field `link_ids`."""

    _name = "aigen.image.linked"
    _description = "Can be shared by link"
    _link_field = None
    """The field of a link that holds such a record."""

    can_share_link = fields.Boolean(compute="_compute_can_share_link")
    shared_until = fields.Datetime(
        "Shared by link until", compute="_compute_shared_until", search="_search_shared_until"
    )
    """Known to all who see it: who puts pictures on a board shows them to whoever has its link."""

    @api.depends_context("uid", "allowed_company_ids")
    def _compute_can_share_link(self):
        mine = self._origin._filtered_access("write") if self.env["aigen.image.link"]._are_links_allowed() else ()
        for record in self:
            record.can_share_link = record._origin in mine

    @api.depends("link_ids.expires_at")
    def _compute_shared_until(self):
        working = [(self._link_field, "in", self._origin.ids), ("expires_at", ">", fields.Datetime.now())]
        links = self.env["aigen.image.link"].sudo().search(working)
        until = {link._target().id: link.expires_at for link in links}
        for record in self:
            record.shared_until = until.get(record._origin.id)

    @api.model
    def _search_shared_until(self, operator, value):
        """For the filter: is it shared now?"""
        if operator not in {"!=", "not in"} or any(value if operator == "not in" else [value]):
            return NotImplemented
        return [("link_ids.expires_at", ">", fields.Datetime.now())]

    def action_share_link(self):
        """Open the dialog that makes a link, shows it, renews it and ends it."""
        self.ensure_one()
        self.env["aigen.image.link"]._check_may_share(self)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Share link"),
            "res_model": "aigen.image.share",
            "views": [(False, "form")],
            "target": "new",
            "context": {f"default_{self._link_field}": self.id, "dialog_size": "medium"},
        }


class AigenImageRequest(models.Model):
    _name = "aigen.image.request"
    _inherit = ["aigen.image.request", "aigen.image.linked"]
    _link_field = "request_id"

    link_ids = fields.One2many("aigen.image.link", "request_id", "Links")


class AigenImageBoard(models.Model):
    _name = "aigen.image.board"
    _inherit = ["aigen.image.board", "aigen.image.linked"]
    _link_field = "board_id"

    link_ids = fields.One2many("aigen.image.link", "board_id", "Links")
