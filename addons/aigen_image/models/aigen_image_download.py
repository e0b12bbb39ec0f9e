"""Several pictures as one file."""

import itertools
from urllib.parse import urlencode

from odoo import fields, models
from odoo.exceptions import UserError

MOST_PICTURES = 500
MOST_BYTES = 2**30


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    def action_download(self):
        """Give the picture as a file, or several as a ZIP."""
        if len(self) < 2:
            return super().action_download()
        self.check_access("read")
        self._check_download(MOST_PICTURES)
        return {"type": "ir.actions.act_url", "url": self.filtered("attachment_id")._zip_url(), "target": "download"}

    def _zip_url(self):
        return f"/aigen/pictures.zip?{urlencode({'ids': ','.join(map(str, self.ids))})}"

    def _check_download(self, most):
        """Raise `UserError` if a ZIP of these pictures would be empty, too large, or have more than `most` pictures."""
        pictures = self.filtered("attachment_id")
        if not pictures:
            raise UserError(self.env._("None of these has a picture to download."))
        if len(pictures) > most:
            raise UserError(
                self.env._(
                    "A ZIP has at most %(limit)s pictures. These are %(count)s: download them in parts.",
                    limit=most,
                    count=len(pictures),
                )
            )
        size = sum(pictures.mapped("image_size"))
        if size > MOST_BYTES:
            raise UserError(
                self.env._("These pictures have %s MB together, more than 1 GB: download them in parts.", size // 10**6)
            )

    def _zip_name(self):
        return f"pictures-{fields.Date.context_today(self)}.zip"

    def _zip_files(self):
        """Return the files of these pictures: `(name, time, attachment)`, each name once."""
        files, names = [], set()
        for record in self.filtered("attachment_id"):
            stem, extension = record._file_name(), record._file_extension()
            numbered = (f"{stem}-{number}.{extension}" for number in itertools.count(2))
            name = next(each for each in itertools.chain([f"{stem}.{extension}"], numbered) if each not in names)
            names.add(name)
            files.append((name, record.finished_at or record.create_date, record.attachment_id))
        return files
