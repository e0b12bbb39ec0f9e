from odoo import fields, models

from .aigen_bridge import new_uuid
from .series import Constraint


class ResUsers(models.Model):
    _inherit = "res.users"

    aigen_uuid = fields.Char("UUID for AI images", copy=False, readonly=True, groups="base.group_system")
    """What the bridge knows a person by. Stored, so that it stays the same when the database is restored."""

    _aigen_uuid_unique = Constraint("UNIQUE (aigen_uuid)", "Another user has this UUID already.")

    def _get_aigen_uuid(self):
        """Return the person's UUID, made when it is first needed: most users never ask for an image."""
        self.ensure_one()
        user = self.sudo()
        if not user.aigen_uuid:
            user.aigen_uuid = new_uuid()
        return user.aigen_uuid
