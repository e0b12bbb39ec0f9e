"""Visible labels such as "AI-generated", if the settings switch them on: on copies, never on the picture itself."""

from odoo import api, models
from odoo.exceptions import UserError
from odoo.tools import file_path

from ..bridge.label import CORNERS, add_label

FONT = "web/static/fonts/sign/NotoSans-Reg.ttf"
MOST_LABELLED = 50
"""The most pictures in a ZIP with labels. Each takes up to a second, and Odoo ends requests that take minutes."""
CORNER = "bottom_right"
PERCENT = 4
PERCENTS = range(2, 16)


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    @api.model
    def _label(self):
        """Return the arguments of `add_label`, in the language of the environment; {} if labels are switched off."""
        get = self.env["ir.config_parameter"].sudo().get_param
        if not get("aigen_image.label"):
            return {}
        corner, percent = get("aigen_image.label_corner"), get("aigen_image.label_percent") or ""
        percent = int(percent) if percent.isascii() and percent.isdigit() else PERCENT
        return {
            "text": get("aigen_image.label_text") or self.env._("AI-generated"),
            "font": file_path(FONT),
            "corner": corner if corner in CORNERS else CORNER,
            "percent": min(max(percent, PERCENTS[0]), PERCENTS[-1]),
        }

    def _labelled(self):
        """Return the bytes of a copy with the label. Raises `UserError` if the label cannot be drawn."""
        content = add_label(self.attachment_id.raw or b"", **self._label())
        if not content:
            raise UserError(
                self.env._(
                    "No label can be drawn on this picture: its file is damaged, or has more than 50 megapixels."
                )
            )
        return content

    def action_download_labelled(self):
        """Download a copy with the label, or several copies as a ZIP."""
        self.check_access("read")
        self._check_download(MOST_LABELLED)
        pictures = self.filtered("attachment_id")
        url = f"/aigen/labelled/{pictures.id}" if len(pictures) == 1 else f"{pictures._zip_url()}&labelled=1"
        return {"type": "ir.actions.act_url", "url": url, "target": "download"}


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    def session_info(self):
        """Add whether labels are switched on."""
        return super().session_info() | {"aigen_label": bool(self.env["aigen.image.request"]._label())}
