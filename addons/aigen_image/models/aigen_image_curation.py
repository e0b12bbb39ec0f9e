"""What people do with pictures that are there: favourites, ratings, tags."""

from odoo import api, fields, models

RATINGS = [(str(number), str(number)) for number in range(6)]
"""0: not rated."""


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    favorite_user_ids = fields.Many2many(
        "res.users", "aigen_image_request_favorite_rel", "request_id", "user_id", copy=False
    )
    is_favorite = fields.Boolean("Favourite", compute="_compute_is_favorite", search="_search_is_favorite")
    rating = fields.Selection(RATINGS, default="0", copy=False)
    tag_ids = fields.Many2many("aigen.image.tag", string="Tags", copy=False)
    may_write = fields.Boolean("May be changed by me", compute="_compute_may_write")
    """Somebody else's picture on a shared board is only looked at, and kept as a favourite."""

    @api.model
    def _curated_fields(self):
        """Fields that a person may write whatever the status is."""
        return super()._curated_fields() | {"rating", "tag_ids"}

    @api.depends("favorite_user_ids")
    @api.depends_context("uid")
    def _compute_is_favorite(self):
        for record in self:
            record.is_favorite = self.env.user in record.sudo().favorite_user_ids

    @api.model
    def _search_is_favorite(self, operator, value):
        is_asked = (operator in {"=", "in"}) == bool(value)
        if operator not in {"=", "!=", "in", "not in"}:
            return NotImplemented
        return [("favorite_user_ids", "in" if is_asked else "not in", [self.env.uid])]

    @api.depends("user_id")
    @api.depends_context("uid", "allowed_company_ids")
    def _compute_may_write(self):
        writable = self._filtered_access("write")
        for record in self:
            record.may_write = record in writable

    def toggle_favorite(self):
        """Make these favourites of the person; if all of them are, then none. Whoever may see a picture may do so."""
        self.check_access("read")
        others = self.filtered(lambda record: not record.is_favorite)
        command = (4, self.env.uid) if others else (3, self.env.uid)
        (others or self).sudo().write({"favorite_user_ids": [command]})

    def action_tag(self):
        """Open the choice of tags for these pictures."""
        self.check_access("write")
        return {
            "name": self.env._("Tags of %s pictures", len(self)) if len(self) > 1 else self.env._("Tags of the picture"),
            "type": "ir.actions.act_window",
            "res_model": "aigen.image.tagging",
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_request_ids": self.ids},
        }
