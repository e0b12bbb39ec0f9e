from odoo import fields, models

from .aigen_image_request import DETAILS, SHAPES


class AigenImagePreset(models.Model):
    """Settings to start from. What is empty is left as it is when the preset is applied."""

    _name = "aigen.image.preset"
    _description = "AI image preset"
    _inherit = ["aigen.shared"]
    _order = "sequence, name, id"

    name = fields.Char(required=True, translate=True)
    sequence = fields.Integer(default=10)
    prompt = fields.Text(help="Words in double braces are asked for: a portrait of {{subject}}, studio light.")
    negative_prompt = fields.Text()
    model_id = fields.Many2one("aigen.image.model", ondelete="set null")
    shape = fields.Selection(SHAPES)
    detail = fields.Selection(DETAILS)
    steps = fields.Integer()
    cfg = fields.Float("Guidance", digits=(4, 2))


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    parent_id = fields.Many2one(
        "aigen.image.request", "Made from", readonly=True, copy=False, index="btree_not_null", ondelete="set null"
    )
    child_ids = fields.One2many("aigen.image.request", "parent_id", "Made from it", readonly=True)
