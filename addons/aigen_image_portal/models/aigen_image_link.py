import re
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import consteq, format_datetime, str2bool

from odoo.addons.aigen_image.models.series import Constraint

READY = [("active", "=", True), ("status", "=", "completed"), ("attachment_id", "!=", False)]
"""The pictures that a link shows."""


class AigenImageLink(models.Model):
    """Shows one picture, or the pictures of one board, to anybody who has its address, until it expires.

    The token of `portal.mixin` is kept here and not on the picture: there, everybody who may read the picture could
    read the token, and the token would open the chatter.
    """

    _name = "aigen.image.link"
    _description = "AI images by link"
    _inherit = ["portal.mixin"]
    _rec_name = "title"
    _order = "expires_at desc, id desc"

    title = fields.Char(required=True)
    request_id = fields.Many2one("aigen.image.request", "Picture", ondelete="cascade", index=True)
    board_id = fields.Many2one("aigen.image.board", ondelete="cascade", index=True)
    user_id = fields.Many2one("res.users", "Shared by", required=True, ondelete="cascade")
    expires_at = fields.Datetime("Expires", required=True)

    _one_target = Constraint(
        "CHECK (num_nonnulls(request_id, board_id) = 1)", "A link is for one picture or one board."
    )
    _one_of_request = Constraint("UNIQUE (request_id)", "There is a link already. Open “Share link” again to see it.")
    _one_of_board = Constraint("UNIQUE (board_id)", "There is a link already. Open “Share link” again to see it.")

    def _compute_access_url(self):
        for link in self:
            link.access_url = f"/aigen/shared/{link.id}"

    @api.model
    def _are_links_allowed(self):
        return str2bool(self.env["ir.config_parameter"].sudo().get_param("aigen_image_portal.links") or "", False)

    @api.model
    def _check_may_share(self, target):
        """Raises unless the user may share this picture or board by a link: whoever may write it."""
        target.check_access("write")
        if not self._are_links_allowed():
            raise UserError(
                self.env._("Sharing by link is switched off. An administrator can allow it in the settings.")
            )
        if target._name == "aigen.image.request" and target.status != "completed":
            raise UserError(self.env._("There is no picture yet to share."))

    @api.model
    def _share(self, target, title, days):
        """Make a link, or renew the one that there is: with a new token, so that the old address stops working."""
        self._check_may_share(target)
        expires_at = fields.Datetime.now() + timedelta(days=days)
        values = {"title": title, "user_id": self.env.uid, "expires_at": expires_at, "access_token": False}
        link = target.link_ids.sudo()
        if link:
            link.write(values)
        else:
            link = link.create(values | {target._link_field: target.id})
        link._portal_ensure_token()
        until = format_datetime(self.env, expires_at, dt_format="short")
        target.sudo().message_post(body=self.env._("Shared by link until %s.", until))

    def action_stop(self):
        """Stop sharing: the addresses stop working."""
        for link in self:
            target = link._target()
            target.check_access("write")
            target.sudo().message_post(body=self.env._("No longer shared by link."))
        self.sudo().unlink()

    def _target(self):
        return self.request_id or self.board_id

    def _address(self):
        return self.get_base_url() + self._get_share_url()

    @api.model
    def _opened(self, link_id, token):
        """Return the link that the token opens, expired or not, as superuser; or no link."""
        link = self.sudo().browse(link_id).exists()
        is_right = link.access_token and consteq(link.access_token.encode(), (token or "").encode())
        return link if is_right else link.browse()

    def _is_expired(self):
        return self.expires_at <= fields.Datetime.now()

    def _shown(self):
        """Return the picture or the board, with the rights of the person who shared it.

        Nothing when the link expired, that person may share no longer, or the picture or the board is archived.
        """
        person, target = self.user_id, self._target()
        shown = target.with_user(person).with_context(allowed_company_ids=person.company_ids.ids)
        is_open = self._are_links_allowed() and not self._is_expired() and person.active and target.active
        return shown if is_open and shown.has_access("write") else shown.browse()

    def _pictures(self, picture_id=None):
        """Return the pictures that it shows now, in the board's order. With `picture_id`, at most that one.

        On a board, that are those which the person who shared it may see.
        """
        shown = self._shown()
        if not shown:
            return self.request_id.browse()
        pictures = shown.env["aigen.image.request"].with_context(aigen_board_id=self.board_id.id)
        which = ("item_ids.board_id", "=", shown.id) if self.board_id else ("id", "=", shown.id)
        only = [] if picture_id is None else [("id", "=", picture_id)]
        return pictures.search([which, *READY, *only])

    def _file_name(self, number):
        """Return the name of a file, without its ending: the title, and on a board the number of the picture."""
        name = re.sub(r'[\s\\/:*?"<>|]+', " ", self.title).strip(" .") or self.env._("Picture")
        return f"{name} {number}" if self.board_id else name
