from odoo import fields, models


class AigenImageBatch(models.Model):
    """Pictures that were asked for with one action. Each of them is a request of its own."""

    _name = "aigen.image.batch"
    _description = "AI images asked for together"
    _order = "id desc"

    name = fields.Char(required=True, readonly=True)
    user_id = fields.Many2one("res.users", "Person", required=True, readonly=True, index=True)
    company_id = fields.Many2one("res.company", required=True, readonly=True)
    request_ids = fields.One2many("aigen.image.request", "batch_id", "Pictures", readonly=True)


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    batch_id = fields.Many2one(
        "aigen.image.batch", "Asked for with", readonly=True, copy=False, index="btree_not_null", ondelete="set null"
    )
