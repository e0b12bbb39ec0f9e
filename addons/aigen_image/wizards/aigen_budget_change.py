import re

from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError
from odoo.tools import get_lang

from ..bridge.client import Unreachable
from ..bridge.money import CURRENCY, typed_amount
from ..bridge.text import refusal_words
from ..models.aigen_budget import BUDGETS, KINDS, PERIODS

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MATCHED = {"userId": "user_id", "modelId": "model_id"}
"""Key of the bridge → field here."""
UNKNOWN = "budget_unknown"
"""The bridge's code for a budget that it does not have."""
OLD_ADDON = "addon_too_old"
"""The bridge's code for an Odoo whose addon does not understand budgets."""


class AigenBudgetChange(models.TransientModel):
    """A budget as a manager edits it. It is sent to the bridge when the dialog saves it, and the bridge decides."""

    _name = "aigen.budget.change"
    _description = "Change of a budget"
    _inherit = ["aigen.bridge"]

    name = fields.Char(required=True, help="Lower-case letters, digits and hyphens. People read it when it refuses.")
    is_new = fields.Boolean(readonly=True)
    updated = fields.Char(readonly=True)
    """The version of the budget that is changed. Another one at the bridge is not overwritten."""
    limit = fields.Char(required=True)
    currency = fields.Char(required=True, size=3, default="USD")
    period = fields.Selection(PERIODS, required=True, default="month")
    kind = fields.Selection(KINDS, required=True, default="hard")
    user_id = fields.Many2one("res.users", "Person")
    model_id = fields.Many2one("aigen.image.model")
    odoo = fields.Char(help="Only pictures of this Odoo, by the name that it has in the bridge's settings.")
    other_match = fields.Json(readonly=True)
    """Parts of the match that are not of this database. They stay."""
    others = fields.Char("And only", compute="_compute_others")
    contact = fields.Char(help="Whom people are told to ask when it refuses their picture.")
    state = fields.Selection(
        [("open", "Open"), ("done", "Done"), ("refused", "Refused")], default="open", readonly=True
    )
    may_force = fields.Boolean(readonly=True)
    """The bridge refused it because of an older addon somewhere, and would take it nevertheless."""
    words = fields.Text(readonly=True)
    """What the bridge said."""

    @api.depends("other_match")
    def _compute_others(self):
        for change in self:
            change.others = ", ".join(f"{key} {value}" for key, value in (change.other_match or {}).items())

    @api.model
    def _open(self, budget):
        """Return the dialog for a budget, or for a new one."""
        self._check_manager()
        return {
            "type": "ir.actions.act_window",
            "name": budget.name or self.env._("New budget"),
            "res_model": self._name,
            "res_id": self.create(self._values_of(budget)).id if budget else False,
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_is_new": not budget},
        }

    @api.model
    def _values_of(self, budget):
        names = ("name", "currency", "period", "kind", "contact", "updated")
        values = {name: budget[name] for name in names} | self._values_of_match(budget.match or {})
        return values | {"limit": budget.limit.replace(".", get_lang(self.env).decimal_point)}

    @api.model
    def _values_of_match(self, match):
        values, others = {"odoo": match.get("odoo")}, {}
        for key in match.keys() - {"odoo"}:
            record = self.env["aigen.budget"]._matched(key, match[key])[1]
            if record and key in self._matched_fields():
                values[self._matched_fields()[key]] = record.id
            else:
                others[key] = match[key]
        return values | {"other_match": others}

    @api.model
    def _matched_fields(self):
        """Return the fields that say which pictures it counts: key of the bridge → field here."""
        return MATCHED

    def action_save(self, *, force=False):
        """Have the bridge add or replace the budget. What it says is in `state` and `words` afterwards."""
        self._check_manager()
        self.ensure_one()
        self._after_commit("_put", name=self.name, version=self.updated or "", body=self._body(), force=force)

    def action_remove(self):
        """Have the bridge remove the budget."""
        self._check_manager()
        self.ensure_one()
        self._after_commit("_remove", name=self.name, version=self.updated or "")

    @api.model
    def _check_manager(self):
        if not self.env.user.has_group("aigen_image.group_manager"):
            raise AccessError(self.env._("Only a manager of AI images changes budgets."))

    def _body(self):
        """Return the budget for the bridge. Raises `ValidationError` for what cannot be right."""
        limit = typed_amount(self.limit, get_lang(self.env).decimal_point)
        currency = (self.currency or "").strip().upper()
        if not NAME.fullmatch(self.name or ""):
            raise ValidationError(self.env._("A budget's name has lower-case letters, digits and hyphens only."))
        if limit is None:
            example = self._show_amount("100.00")
            raise ValidationError(self.env._("The limit is an amount such as %s.", example))
        if not CURRENCY.fullmatch(currency):
            raise ValidationError(self.env._("A currency is three letters, such as USD."))
        body = {"limit": limit, "currency": currency, "period": self.period, "kind": self.kind, "match": self._match()}
        return body | ({"contact": self.contact.strip()} if (self.contact or "").strip() else {})

    def _match(self):
        """Return which pictures it counts, for the bridge."""
        match = {"odoo": self.odoo} | {key: self._uuid_of(field) for key, field in self._matched_fields().items()}
        return (self.other_match or {}) | {key: value for key, value in match.items() if value}

    def _uuid_of(self, field):
        record = self[field].sudo()  # it may be of a company that the manager does not work in
        if not record:
            return None
        return record.uuid if "uuid" in record._fields else record._get_aigen_uuid()

    # After the commit: no transaction is open, each `_apart` is one.

    def _put(self, *, name, version, body, force):
        path = f"{BUDGETS}/{name}"
        query = "?force=true" if force else ""
        self._settle_with(path, version, lambda bridge: bridge.put(path + query, body))

    def _remove(self, *, name, version):
        path = f"{BUDGETS}/{name}"
        self._settle_with(path, version, lambda bridge: bridge.delete(path))

    def _settle_with(self, path, version, call):
        """Call the bridge, write down what it says, and read its budgets again.

        It is not called if the budget has another version there: another person, or the command line, was faster.
        """
        bridge = self._apart("_operations")
        try:
            found = bridge.get(path)
            is_other = found.status == 200 and str(found.body.get("updatedAt") or "") != version
            answer = None if is_other else call(bridge)
        except Unreachable as error:
            self._apart("_refuse_unreachable", error.reason)
            return
        if is_other:
            self._apart("_refuse_other", version)
        else:
            self._apart("_settle", answer)
        self.env["aigen.budget"]._read_again()

    def _operations(self):
        return self._bridge(patient=True, ops=True)

    def _refuse_unreachable(self, reason):
        self._refuse(self._describe_unreachable(reason))

    def _refuse_other(self, version):
        if version:
            self._refuse(self.env._("The budget was changed meanwhile. Discard this, and open it again."))
        else:
            self._refuse(self.env._("There is a budget with this name already. Discard this, and open that one."))

    def _refuse(self, words, *, may_force=False):
        self.write({"state": "refused", "words": words, "may_force": may_force})

    def _settle(self, answer):
        """Write down what the bridge said: remarks, or why not. A budget that is gone already is removed, too."""
        code = answer.body.get("code")
        if not answer.is_bridge:
            self._refuse_unreachable("stranger")
        elif answer.status < 300 or code == UNKNOWN:
            remarks = answer.body.get("remarks") or ()
            self.write({"state": "done", "words": "\n".join(map(str, remarks)), "may_force": False})
        else:
            self._refuse(self._words_of(answer), may_force=code == OLD_ADDON)

    def _words_of(self, answer):
        """Return why the bridge refused it: its sentence, and what it says of each field."""
        if answer.status in {401, 403}:
            return self.env._("Budgets need a key with the scope “ops”. An administrator enters it.")
        if answer.status == 404:
            return self.env._("This bridge is too old for budgets.")
        lines = [str(answer.body.get("detail") or f"HTTP {answer.status}")]
        lines += [f"{error.get('field')} {refusal_words(error)}" for error in answer.body.get("errors") or ()]
        return "\n".join(lines)
