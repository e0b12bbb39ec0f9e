from odoo import fields, models


class AigenImageTagging(models.TransientModel):
    """Tags for several pictures at once."""

    _name = "aigen.image.tagging"
    _description = "Tags of several AI images"

    request_ids = fields.Many2many("aigen.image.request", string="Pictures")
    tag_ids = fields.Many2many("aigen.image.tag", string="Tags", required=True)

    def action_add(self):
        self.request_ids.write({"tag_ids": [(4, tag.id) for tag in self.tag_ids]})

    def action_remove(self):
        self.request_ids.write({"tag_ids": [(3, tag.id) for tag in self.tag_ids]})
