from odoo import api, fields, models


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    campaign_id = fields.Many2one("utm.campaign", index="btree_not_null")
    campaign_id_refusal = fields.Char(compute="_compute_refusals")

    @api.model
    def _editable_fields(self):
        return super()._editable_fields() | {"campaign_id"}

    @api.model
    def _wire_names(self):
        return super()._wire_names() | {"campaignId": "campaign_id"}

    def _event(self):
        event = super()._event()
        if self.campaign_id:
            event["campaignId"] = self.campaign_id._get_aigen_uuid()
        return event
