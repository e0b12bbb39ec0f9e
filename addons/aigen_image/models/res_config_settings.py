from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import file_path

from odoo.addons.base.models.res_users import check_identity

from ..bridge.address import WrongAddress, checked_url
from ..bridge.label import missing_characters
from .aigen_image_label import CORNER, FONT, PERCENT, PERCENTS

CORNERS = [
    ("bottom_right", "Bottom right"),
    ("bottom_left", "Bottom left"),
    ("top_right", "Top right"),
    ("top_left", "Top left"),
]
LABEL_MAX = 60


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    aigen_bridge_url = fields.Char("Bridge address", config_parameter="aigen_image.bridge_url")
    aigen_bridge_key = fields.Char("Key", help="Write one to set or replace it. It is never shown again.")
    aigen_bridge_ops_key = fields.Char("Key of operations", help="For re-triggering and budgets; never shown again.")
    aigen_key_is_set = fields.Boolean(readonly=True)
    aigen_ops_key_is_set = fields.Boolean(readonly=True)
    aigen_approval = fields.Boolean("Approval before pictures are used", config_parameter="aigen_image.approval")
    aigen_label = fields.Boolean("Visible label on copies", config_parameter="aigen_image.label")
    aigen_label_text = fields.Char("Text", config_parameter="aigen_image.label_text")
    """If empty, the label is "AI-generated" in the user's language."""
    aigen_label_corner = fields.Selection(
        CORNERS, "Corner", default=CORNER, config_parameter="aigen_image.label_corner"
    )
    aigen_label_percent = fields.Integer("Height (%)", default=PERCENT, config_parameter="aigen_image.label_percent")
    aigen_bridge_user_id = fields.Many2one("res.users", "Bridge's user", readonly=True)
    aigen_bridge_user_keys = fields.Integer("API keys of the bridge's user", readonly=True)

    @api.model
    def get_values(self):
        parameters = self.env["ir.config_parameter"].sudo()
        user = self._aigen_user()
        return super().get_values() | {
            "aigen_key_is_set": bool(parameters.get_param("aigen_image.bridge_key")),
            "aigen_ops_key_is_set": bool(parameters.get_param("aigen_image.bridge_ops_key")),
            "aigen_bridge_user_id": user.id,
            "aigen_bridge_user_keys": len(user.sudo().api_key_ids),
        }

    def set_values(self):
        """Refuse an invalid address or label. Keys are written if they were entered, and never read back."""
        if self.aigen_bridge_url:
            self.aigen_bridge_url = self._aigen_checked_url(self.aigen_bridge_url)
        if self.aigen_label:
            self._aigen_check_label()
        result = super().set_values()
        parameters = self.env["ir.config_parameter"].sudo()
        for name in ("bridge_key", "bridge_ops_key"):
            key = (self[f"aigen_{name}"] or "").strip()
            if key:
                parameters.set_param(f"aigen_image.{name}", key)
                self[f"aigen_{name}"] = False
        return result

    @api.model
    def _aigen_checked_url(self, text):
        try:
            return checked_url(text)
        except WrongAddress as error:
            words = {
                "scheme": self.env._("The bridge's address begins with http:// or https://."),
                "host": self.env._("The bridge's address needs the name of a machine, as in http://bridge:8000."),
                "port": self.env._("The port in the bridge's address is no port."),
                "credentials": self.env._(
                    "No user name and no password belong in the address; the bridge asks for a key."
                ),
                "more": self.env._("The bridge's address ends with the machine, port or path, without ? and #."),
            }
            raise ValidationError(words[error.reason]) from error

    def _aigen_check_label(self):
        text = self.aigen_label_text = " ".join((self.aigen_label_text or "").split())
        if len(text) > LABEL_MAX:
            raise ValidationError(self.env._("The label may have at most %s characters.", LABEL_MAX))
        if missing := missing_characters(text, file_path(FONT)):
            raise ValidationError(self.env._("The font of the label does not have these characters: %s", missing))
        if self.aigen_label_percent not in PERCENTS:
            limits = {"least": PERCENTS[0], "most": PERCENTS[-1]}
            raise ValidationError(
                self.env._("The height of the label must be from %(least)s to %(most)s percent.", **limits)
            )

    @api.model
    def _aigen_user(self):
        return self.env.ref("aigen_image.user_bridge", raise_if_not_found=False) or self.env["res.users"]

    def action_aigen_check(self):
        """Try the connection with what stands in the form."""
        self.ensure_one()
        return self.aigen_check(self.aigen_bridge_url, self.aigen_bridge_key, self.aigen_bridge_ops_key)

    @api.model
    def aigen_check(self, url, key, ops_key):
        """Try the connection with what is typed, saved or not, and show what was found. Nothing is saved.

        An empty key stands for the one that is set, which is never shown.
        """
        self.check_access("create")
        parameters = self.env["ir.config_parameter"].sudo()
        known = {
            name: parameters.get_param(f"aigen_image.{name}") or ""
            for name in ("bridge_url", "bridge_key", "bridge_ops_key")
        }
        tried = {
            "bridge_url": self._aigen_checked_url(url) if url else "",
            "bridge_key": (key or "").strip() or known["bridge_key"],
            "bridge_ops_key": (ops_key or "").strip() or known["bridge_ops_key"],
        }
        check = self.env["aigen.bridge.check"].create({"is_unsaved": tried != known})
        check._after_commit(
            "_try_all",
            url=tried["bridge_url"],
            key=tried["bridge_key"],
            ops_key=tried["bridge_ops_key"],
            database=check._database_header(),
        )
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Connection to the bridge"),
            "res_model": "aigen.bridge.check",
            "res_id": check.id,
            "views": [(False, "form")],
            "target": "new",
        }

    @check_identity
    def action_aigen_new_key(self):
        """Make an API key for the bridge's user, shown once. Whoever replaces one removes the old one there."""
        self.env["res.users"].check_access("write")
        user = self._aigen_user()
        key = self.env["res.users.apikeys"].with_user(user).sudo()._generate("rpc", self.env._("The bridge"), None)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("API key of the bridge's user"),
            "res_model": "res.users.apikeys.show",
            "views": [(self.env.ref("base.form_res_users_key_show").id, "form")],
            "target": "new",
            "context": {"default_key": key},
        }
