from odoo import models


class EventEvent(models.Model):
    _name = "event.event"
    _inherit = ["event.event", "aigen.image.mixin"]
    _aigen_image_field = "badge_image"
