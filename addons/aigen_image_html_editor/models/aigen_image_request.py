from odoo import models

from odoo.addons.html_editor.controllers.main import get_existing_attachment

ALT_MAX = 250


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    def copy_for_editor(self, res_model=None, res_id=None):
        """Copy these pictures for what is being edited, and return what the media dialog knows of each copy.

        Done by the person's own rights, as when a file is uploaded there: images of web pages (`ir.ui.view`) are
        public, others belong to the record, and are shown by their access token. A picture is copied once for each. If
        labels are switched on, the copy has the visible label.
        """
        self.check_access("read")
        self._check_usable()
        return [record._copy_for_editor(res_model, res_id)._get_media_info() for record in self]

    def _copy_for_editor(self, res_model, res_id):
        is_page = res_model == "ir.ui.view"
        values = {
            "name": self.attachment_id.name,
            "description": " ".join(self.prompt.split())[:ALT_MAX],
            "mimetype": self.attachment_id.mimetype,
            "raw": self._labelled() if self._label() else self.attachment_id.raw,
            "public": is_page,
            "res_model": res_model or False,
            "res_id": (not is_page and res_id) or False,
        }
        attachments = self.env["ir.attachment"].with_context(image_no_postprocess=True)
        return get_existing_attachment(attachments, values) or attachments.create(values)
