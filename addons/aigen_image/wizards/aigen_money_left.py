from decimal import Decimal
from urllib.parse import urlencode

from odoo import api, fields, models

from ..bridge.client import BUDGETS, Unreachable
from ..bridge.money import read_budget


class AigenMoneyLeft(models.TransientModel):
    """What is left for the pictures that a person is about to ask for, in each budget that would count them."""

    _name = "aigen.money.left"
    _description = "What is left of the budgets"
    _inherit = ["aigen.bridge"]

    budgets = fields.Json(readonly=True)
    """Hard ones first, then those with the least left. Empty while nothing is known."""
    is_known = fields.Boolean(readonly=True)
    """False: the bridge was not reached, or is too old for budgets."""

    @api.model
    def ask(self, wishes):
        """Ask the bridge about pictures of this person with these wishes. Returns the id to read.

        `wishes` are `model_id`, `resolution`, `number` of pictures (1 if it is missing), and what else they count by.
        """
        self.env["aigen.image.request"].check_access("create")
        question = self.sudo().create({})
        if self.env["ir.config_parameter"].sudo().get_param("aigen_image.bridge_url"):
            question._after_commit("_ask", purpose=self._purpose(wishes), price=self._price(wishes))
        return question.id

    @api.model
    def _purpose(self, wishes):
        """Return what the picture is for, as the bridge's budgets match it."""
        purpose = {"userId": self.env.user._get_aigen_uuid()}
        if model := self.env["aigen.image.model"].browse(wishes.get("model_id")).exists():
            purpose["modelId"] = model.uuid
        return purpose

    @api.model
    def _price(self, wishes):
        """Return what the pictures cost, as `(amount, currency)`, or None."""
        price = self.env["aigen.image.model"].browse(wishes.get("model_id")).exists()._price()
        number = wishes.get("number") or 1
        return price and wishes.get("resolution") and (price.of(wishes["resolution"], number), price.currency)

    def _ask(self, *, purpose, price):
        """After the commit, with no transaction open."""
        bridge = self._apart("_bridge")
        try:
            answer = bridge.get(f"{BUDGETS}?{urlencode(purpose)}")
        except Unreachable:
            return
        if answer.is_bridge and answer.status == 200:
            self._apart("_keep", answer.body.get("items"), price)

    def _keep(self, items, price):
        found = [read_budget(item) for item in items] if isinstance(items, list) else []
        found = sorted(filter(None, found), key=lambda budget: (budget.kind != "hard", float(budget.left)))
        names = ("name", "limit", "currency", "period", "kind", "left")
        budgets = [
            {name: getattr(budget, name) for name in names}
            | {"used": budget.used_percent, "is_too_little": _is_too_little(budget, price)}
            for budget in found
        ]
        self.write({"budgets": budgets, "is_known": True})


def _is_too_little(budget, price):
    """Return whether a hard budget surely refuses the picture. One in another currency: the bridge knows the rate."""
    amount, currency = price or (0, "")
    return budget.kind == "hard" and currency == budget.currency and Decimal(budget.left) < amount
