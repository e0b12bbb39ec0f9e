from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    aigen_links = fields.Boolean("People may share links", config_parameter="aigen_image_portal.links")
