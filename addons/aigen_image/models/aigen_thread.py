from odoo import models


class AigenThread(models.AbstractModel):
    """For what is written about by those who see it, and by nobody else: sharing can end."""

    _name = "aigen.thread"
    _description = "Written about by those who see it"
    _inherit = ["mail.thread"]
    _mail_post_access = "read"

    def _notify_get_recipients(self, message, msg_vals=False, **kwargs):  # noqa: FBT002 - as Odoo has it
        """Leave out followers who do not see it any more."""
        found = super()._notify_get_recipients(message, msg_vals, **kwargs)
        users = self.env["res.users"].browse()
        return [one for one in found if not self or not one["uid"] or self._is_seen_by(users.browse(one["uid"]))]

    def _is_seen_by(self, user):
        companies = {"allowed_company_ids": user.sudo().company_ids.ids}
        return self.with_user(user).with_context(**companies).has_access("read")
