from odoo import api, models


class AigenMoneyLeft(models.TransientModel):
    _inherit = "aigen.money.left"

    @api.model
    def _purpose(self, wishes):
        purpose = super()._purpose(wishes)
        if campaign := self.env["utm.campaign"].browse(wishes.get("campaign_id")).exists():
            purpose["campaignId"] = campaign._get_aigen_uuid()
        return purpose
