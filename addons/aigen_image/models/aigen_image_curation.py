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
