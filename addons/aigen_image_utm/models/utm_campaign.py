from odoo import fields, models

from odoo.addons.aigen_image.models.aigen_bridge import new_uuid
from odoo.addons.aigen_image.models.series import Constraint


class UtmCampaign(models.Model):
    _inherit = "utm.campaign"

    aigen_uuid = fields.Char("UUID for AI images", copy=False, readonly=True)
    """What the bridge and N8N know the campaign by. Stored, so that it stays the same when the database is restored."""

    _aigen_uuid_unique = Constraint("UNIQUE (aigen_uuid)", "Another campaign has this UUID already.")

    def _get_aigen_uuid(self):
        """Return the campaign's UUID, made when it is first needed."""
        self.ensure_one()
        campaign = self.sudo()
        if not campaign.aigen_uuid:
            campaign.aigen_uuid = new_uuid()
        return campaign.aigen_uuid
