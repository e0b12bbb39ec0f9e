"""The bridge's budgets, for managers to look at. They are the bridge's: here they are only read again."""

from odoo import api, fields, models

from ..bridge.client import OPS, Unreachable
from ..bridge.money import read_budget

BUDGETS = f"{OPS}/budgets"
PERIODS = [("day", "Each day"), ("month", "Each month"), ("total", "In total")]
KINDS = [("hard", "Hard"), ("soft", "Soft")]


class AigenBudget(models.Model):
    _name = "aigen.budget"
    _description = "Budget for AI images"
    _inherit = ["aigen.bridge"]
    _order = "name"

    name = fields.Char(readonly=True)
    limit = fields.Char("Exact limit", readonly=True)
    currency = fields.Char(readonly=True)
    """Amounts are decimal texts, as exact as the bridge's."""
    period = fields.Selection(PERIODS, readonly=True)
    kind = fields.Selection(KINDS, readonly=True)
    match = fields.Json(readonly=True)
    """Which pictures it counts: `{odoo?, userId?, campaignId?, modelId?}`."""
    contact = fields.Char(readonly=True, help="Whom people are told to ask.")
    spent = fields.Char(readonly=True)
    reserved = fields.Char(readonly=True)
    left = fields.Char("Exact rest", readonly=True)
    used_percent = fields.Float("Used so far", readonly=True)
    updated = fields.Char(readonly=True)
    """Names the version of the budget that was read."""
    limit_shown = fields.Char("Limit", compute="_compute_shown")
    left_shown = fields.Char("Left", compute="_compute_shown")
    counts = fields.Char("Counts the pictures of", compute="_compute_shown")

    @api.depends("limit", "left", "currency", "match")
    @api.depends_context("lang")
    def _compute_shown(self):
        for budget in self:
            budget.limit_shown = self._show_amount(budget.limit or "", budget.currency)
            budget.left_shown = self._show_amount(budget.left or "", budget.currency)
            budget.counts = budget._describe_match()

    def _describe_match(self):
        """Return in words which pictures it counts. What is not of this database is named by its UUID."""
        words = []
        for key, value in (self.match or {}).items():
            label, record = self._matched(key, value)
            words.append(f"{label}: {record.display_name if record else value}")
        return ", ".join(words) or self.env._("everybody")

    @api.model
    def _matched(self, key, value):
        """Return what a part of the match is called, and its record in this database, empty if there is none."""
        label, model, field = self._matchable().get(key, (key, None, None))
        records = self.env[model].sudo().with_context(active_test=False) if model else None
        return label, records.search([(field, "=", value.lower())], limit=1) if model else self.browse()

    @api.model
    def _matchable(self):
        """Return by what a budget can count: key of the bridge → label, model here, field with its UUID."""
        return {
            "userId": (self.env._("Person"), "res.users", "aigen_uuid"),
            "modelId": (self.env._("Model"), "aigen.image.model", "uuid"),
        }

    @api.model
    def action_open(self):
        """Read the budgets from the bridge, and show them."""
        self.check_access("read")
        self.env["aigen.image.request"]._check_configured()
        self.with_context(aigen_asked_by=self.env.uid)._after_commit("_read_again")
        return self.env["ir.actions.act_window"]._for_xml_id("aigen_image.aigen_budget_action")

    def action_edit(self):
        """Open the budget for changes."""
        self.ensure_one()
        return self.env["aigen.budget.change"]._open(self)

    def action_new(self):
        """Open a new budget, whatever is selected."""
        return self.env["aigen.budget.change"]._open(self.browse())

    # After the commit: no transaction is open, each `_apart` is one.

    def _read_again(self):
        """Take over the bridge's budgets. Without an answer those that were known stay, and the person is told."""
        bridge = self._apart("_operations")
        try:
            answer = bridge.get(BUDGETS)
        except Unreachable as error:
            self._apart("_say_not_read", error.reason)
            return
        items = answer.body.get("items") if answer.is_bridge and answer.status == 200 else None
        if isinstance(items, list):
            self._apart("_keep", items)
        else:
            self._apart("_say_not_read", f"http_{answer.status}" if answer.is_bridge else "stranger")

    def _operations(self):
        return self._bridge(patient=True, ops=True)

    def _keep(self, items):
        """Make the records the same as the bridge's budgets. Those that did not change keep their ids."""
        self.env.cr.execute("SELECT pg_advisory_xact_lock(hashtext('aigen_image.budgets'))")
        found = {budget.name: _values(budget) for item in items if (budget := read_budget(item))}
        known = {budget.name: budget for budget in self.search([])}
        for name, values in found.items():
            if name in known:
                known[name].write(values)
            else:
                self.create(values)
        self.union(*(budget for name, budget in known.items() if name not in found)).unlink()

    def _say_not_read(self, reason):
        words = {
            "http_404": self.env._("This bridge is too old for budgets."),
            "http_401": self.env._("The bridge does not know the key of operations. An administrator enters it."),
            "http_403": self.env._("Budgets need a key with the scope “ops”. An administrator enters it."),
        }.get(reason) or self._describe_unreachable(reason)
        user = self.env["res.users"].browse(self.env.context.get("aigen_asked_by"))
        if user:
            self._tell_person(user, words, "warning")


def _values(budget):
    names = ("name", "limit", "currency", "period", "kind", "match", "contact", "spent", "reserved", "left", "updated")
    return {name: getattr(budget, name) for name in names} | {"used_percent": budget.used_percent}
