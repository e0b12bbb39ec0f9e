from odoo import fields, models

from .aigen_bridge import new_uuid
from .series import Constraint


NOTIFY = [
    ("browser", "In the browser"),
    ("message", "In the browser and by a message"),
    ("nothing", "Not at all"),
]


class ResUsers(models.Model):
    _inherit = "res.users"

    aigen_notify = fields.Selection(
        NOTIFY,
        "Tell me when my picture is ready",
        required=True,
        default="browser",
        help="A message arrives in Odoo or by e-mail, as you handle all notifications.",
    )

    aigen_uuid = fields.Char("UUID for AI images", copy=False, readonly=True, groups="base.group_system")
    """What the bridge knows a person by. Stored, so that it stays the same when the database is restored."""

    _aigen_uuid_unique = Constraint("UNIQUE (aigen_uuid)", "Another user has this UUID already.")

    @property
    def SELF_READABLE_FIELDS(self):
        return super().SELF_READABLE_FIELDS + ["aigen_notify"]

    @property
    def SELF_WRITEABLE_FIELDS(self):
        return super().SELF_WRITEABLE_FIELDS + ["aigen_notify"]

    def _get_aigen_uuid(self):
        """Return the person's UUID, made when it is first needed: most users never ask for an image."""
        self.ensure_one()
        user = self.sudo()
        if not user.aigen_uuid:
            user.aigen_uuid = new_uuid()
        return user.aigen_uuid
