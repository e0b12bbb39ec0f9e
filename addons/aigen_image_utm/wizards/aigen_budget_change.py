from odoo import api, fields, models


class AigenBudgetChange(models.TransientModel):
    _inherit = "aigen.budget.change"

    campaign_id = fields.Many2one("utm.campaign")

    @api.model
    def _matched_fields(self):
        return super()._matched_fields() | {"campaignId": "campaign_id"}
