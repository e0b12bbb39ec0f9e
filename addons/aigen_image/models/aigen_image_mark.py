"""Marks that say that a picture was made by AI: those it came with, and the one that the bridge added."""

from odoo import api, fields, models
from odoo.exceptions import ValidationError

MARKS = [
    ("bridge_c2pa", "Marked by the bridge (signed)"),
    ("bridge_metadata", "Marked by the bridge (metadata)"),
    ("service_valid", "Marked as AI-made by the service: valid"),
    ("service_invalid", "Marked as AI-made by the service: not valid"),
    ("service_unchecked", "Marked as AI-made by the service: not checked"),
    ("service_metadata", "Marked as AI-made by the service (metadata)"),
    ("unmarked", "Not marked"),
    ("unexamined", "Not examined"),
]
METADATA = "digitalSourceType"
"""The bridge's name for IPTC's `DigitalSourceType` in the metadata. It has no signature to validate."""


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    provenance = fields.Json(readonly=True, copy=False)
    """The marks as reported by the bridge: `{found, valid, marked}`. Empty if the bridge did not look for marks."""
    original_sha256 = fields.Char("SHA-256 before it was marked", readonly=True, copy=False)
    mark = fields.Selection(MARKS, compute="_compute_mark", store=True, index="btree_not_null")
    marks_found = fields.Char("Came with", compute="_compute_marks_found")

    @api.depends("provenance", "image_sha256")
    def _compute_mark(self):
        for record in self:
            record.mark = record._find_mark() if record.image_sha256 else False

    def _find_mark(self):
        """Return the mark to show. The bridge adds its own last, so that one takes precedence."""
        if not self.provenance:
            return "unexamined"
        found, valid, marked = (self.provenance.get(name) for name in ("found", "valid", "marked"))
        if marked:
            return f"bridge_{marked}"
        if not found:
            return "unmarked"
        if found == [METADATA]:
            return "service_metadata"
        return {True: "service_valid", False: "service_invalid", None: "service_unchecked"}[valid]

    @api.depends("provenance")
    @api.depends_context("lang")
    def _compute_marks_found(self):
        words = {"c2pa": self.env._("Content credentials (C2PA)"), METADATA: self.env._("IPTC metadata")}
        for record in self:
            found = (record.provenance or {}).get("found", ())
            record.marks_found = ", ".join(words.get(name, name) for name in found)

    def _apply(self, result):
        """Replace the bytes if the bridge marked the picture after it was delivered."""
        if not self._is_marked_later(result):
            return super()._apply(result)
        if not self.attachment_id:
            return False  # somebody deleted the file
        self._replace_bytes(result)
        return True

    def _is_marked_later(self, result):
        """Return whether the result has new bytes of the same original, and keeps the bridge's mark if there is one."""
        if not result.image or result.version <= self.version or self.status != "completed" or not self.image_sha256:
            return False
        if result.image.sha256 == self.image_sha256:
            return False
        if result.made.get("original_sha256") != (self.original_sha256 or self.image_sha256):
            return False
        had, has = ((known["provenance"] or {}).get("marked") for known in (self, result.made))
        return bool(has) or not had

    def _replace_bytes(self, result):
        """Replace the bytes of the attachment and reload views, without a notification.

        The attachment itself stays, and with it links, boards and uses.
        """
        image = result.image
        attachment = self.attachment_id.with_context(image_no_postprocess=True)
        attachment.write({"raw": image.content, "mimetype": image.media_type})
        if attachment.raw != image.content:
            raise ValidationError(self.env._("Odoo changed the image while storing it."))
        self.write({"image_sha256": image.sha256, "image_size": len(image.content), "version": result.version})
        self._make_thumbnail(image.content)
        self._show_news(is_silent=True)
