from random import randint

from odoo import fields, models

from .series import Constraint


class AigenImageTag(models.Model):
    _name = "aigen.image.tag"
    _description = "AI image tag"
    _order = "name, id"

    name = fields.Char(required=True)
    color = fields.Integer(default=lambda _self: randint(1, 11))  # noqa: S311 - it is no secret

    _name_unique = Constraint("UNIQUE (name)", "There is such a tag already.")
