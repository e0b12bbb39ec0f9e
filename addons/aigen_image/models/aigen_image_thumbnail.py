"""A small copy of each picture, for galleries: they never load the originals."""

import base64

from odoo import api, fields, models

from ..bridge.thumbnail import make_thumbnail

PER_RUN = 500
"""Old pictures that one run of the cron makes a small copy of."""
TOGETHER = 20
"""Thumbnails per transaction."""


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    thumbnail = fields.Binary(attachment=True, readonly=True, copy=False)
    """At most 512 px. Empty where it could not be made: Odoo then makes one whenever a gallery shows the picture."""

    def _keep_picture(self, image):
        kept = super()._keep_picture(image)
        self._make_thumbnail(image.content)
        return kept

    def _make_thumbnail(self, content):
        thumbnail = make_thumbnail(content)
        self.thumbnail = thumbnail and base64.b64encode(thumbnail)

    @api.model
    def _cron_thumbnails(self):
        """Make the small copies of pictures that came before there were any. The newest first."""
        domain = [("image_format", "in", ("png", "jpeg")), ("attachment_id", "!=", False), ("thumbnail", "=", False)]
        missing = self.with_context(active_test=False).search(domain, order="id desc", limit=PER_RUN)
        missing._after_commit("_make_thumbnails")

    def _make_thumbnails(self):
        for start in range(0, len(self), TOGETHER):
            self[start : start + TOGETHER]._apart("_make_missing_thumbnails")

    def _make_missing_thumbnails(self):
        for record in self.exists():
            record._lock()
            if not record.thumbnail:
                record._make_thumbnail(record.attachment_id.raw or b"")
