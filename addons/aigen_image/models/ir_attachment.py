from odoo import models


class IrAttachment(models.Model):
    _inherit = "ir.attachment"

    def _is_of_aigen(self):
        return self.res_model in {"aigen.image.request", "aigen.image.board"}

    # Odoo 19 gives whoever reads a chatter tokens for its files that hold for weeks. Those of pictures and boards are
    # read by rights alone: what is shared can be revoked. Odoo 18 has no such methods.

    def _get_raw_access_token(self):
        return False if self._is_of_aigen() else super()._get_raw_access_token()

    def _get_thumbnail_token(self):
        return False if self._is_of_aigen() else super()._get_thumbnail_token()
