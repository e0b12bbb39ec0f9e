import re

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from .aigen_bridge import new_uuid
from .series import Constraint

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class AigenImageModel(models.Model):
    _name = "aigen.image.model"
    _description = "AI image model"
    _order = "sequence, name, id"

    name = fields.Char(required=True, translate=True)
    uuid = fields.Char("UUID", required=True, copy=False, default=new_uuid, help="What N8N knows the model by.")
    description = fields.Text(translate=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    steps = fields.Integer("Default steps", help="0: the AI service decides.")
    cfg = fields.Float("Default guidance", digits=(4, 1), help="0: the AI service decides.")
    preview = fields.Image(max_width=512, max_height=512)
    company_ids = fields.Many2many("res.company", string="Companies", help="Empty: all companies may use it.")

    _uuid_unique = Constraint("UNIQUE (uuid)", "Another model has this UUID already.")
    _steps_range = Constraint("CHECK (steps BETWEEN 0 AND 100)", "Steps are a whole number from 0 to 100.")
    _cfg_range = Constraint("CHECK (cfg BETWEEN 0 AND 35)", "Guidance is a number from 0 to 35.")

    @api.constrains("uuid")
    def _check_uuid(self):
        for model in self:
            if not UUID.match(model.uuid):
                raise ValidationError(
                    self.env._("%s is no UUID. One looks like 0b5c1f0e-7d3a-4c52-9a61-3f1f3c0f2a10.", model.uuid)
                )

    @api.model_create_multi
    def create(self, vals_list):
        return super().create([self._with_plain_uuid(vals) for vals in vals_list])

    def write(self, vals):
        return super().write(self._with_plain_uuid(vals))

    @api.model
    def _with_plain_uuid(self, vals):
        """UUIDs are compared as texts, here and in N8N."""
        return dict(vals, uuid=vals["uuid"].strip().lower()) if vals.get("uuid") else vals
