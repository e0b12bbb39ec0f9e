from odoo import fields, models


class AigenImageRefuse(models.TransientModel):
    """Asks an approver why pictures are refused."""

    _name = "aigen.image.refuse"
    _description = "Refuse AI images"

    request_ids = fields.Many2many("aigen.image.request", required=True)
    reason = fields.Char(required=True)

    def action_refuse(self):
        self.ensure_one()
        self.request_ids._check_approver()
        for request in self.request_ids:
            request._decide("refused", reason=self.reason)
