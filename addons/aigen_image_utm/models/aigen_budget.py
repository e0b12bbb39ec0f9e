from odoo import api, models


class AigenBudget(models.Model):
    _inherit = "aigen.budget"

    @api.model
    def _matchable(self):
        return super()._matchable() | {"campaignId": (self.env._("Campaign"), "utm.campaign", "aigen_uuid")}
