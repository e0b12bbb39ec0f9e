from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..bridge.catalogue import UUID
from ..bridge.money import amount_text, read_price
from ..bridge.sizes import sizes
from .aigen_bridge import new_uuid
from .series import Constraint


class AigenImageModel(models.Model):
    _name = "aigen.image.model"
    _description = "AI image model"
    _inherit = ["aigen.bridge"]
    _order = "sequence, name, id"

    name = fields.Char(required=True, translate=True)
    uuid = fields.Char("UUID", required=True, copy=False, default=new_uuid, help="What N8N knows the model by.")
    description = fields.Text(translate=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    steps = fields.Integer("Default steps", help="0: the AI service decides.")
    cfg = fields.Float("Default guidance", digits=(4, 2), help="0: the AI service decides.")
    preview = fields.Image(max_width=512, max_height=512)
    company_ids = fields.Many2many("res.company", string="Companies", help="Empty: all companies may use it.")

    offer = fields.Json(readonly=True, copy=False)
    """What the bridge's catalogue says of it (`bridge/catalogue.py`). Empty: nothing, so that there are no rules."""
    is_withdrawn = fields.Boolean("No longer offered", readonly=True, copy=False)
    """Archived because the bridge does not offer it any more. One that a person archived stays archived."""
    in_catalogue = fields.Boolean("In the catalogue", compute="_compute_offered")
    takes_negative_prompt = fields.Boolean("What must not be in it", compute="_compute_offered")
    takes_seed = fields.Boolean("Seed", compute="_compute_offered")
    steps_offered = fields.Char("Steps", compute="_compute_offered")
    cfg_offered = fields.Char("Guidance", compute="_compute_offered")
    resolutions_offered = fields.Char("Resolutions", compute="_compute_offered")
    price = fields.Char(compute="_compute_offered")

    _uuid_unique = Constraint("UNIQUE (uuid)", "Another model has this UUID already.")
    _steps_range = Constraint("CHECK (steps BETWEEN 0 AND 100)", "Steps are a whole number from 0 to 100.")
    _cfg_range = Constraint("CHECK (cfg BETWEEN 0 AND 35)", "Guidance is a number from 0 to 35.")

    @api.depends("offer")
    @api.depends_context("lang")
    def _compute_offered(self):
        for model in self:
            offer = model.offer or {}
            price = model._price()
            model.in_catalogue = bool(offer)
            model.takes_negative_prompt = offer.get("negativePrompt", True)
            model.takes_seed = offer.get("seed", True)
            model.steps_offered = model._describe_range("steps")
            model.cfg_offered = model._describe_range("cfg")
            model.resolutions_offered = ", ".join(offer.get("resolutions", ()))
            model.price = price and model._describe_price(price)

    def _describe_range(self, name):
        if not (limits := self._range(name)):
            return False
        least, most = (f"{limit:g}" for limit in limits)
        return self.env._("%(least)s to %(most)s", least=least, most=most)

    def _describe_price(self, price):
        money = self._show_amount(amount_text(price.amount), price.currency)
        if price.per == "image":
            return self.env._("%s for a picture", money)
        return self.env._("%s for a megapixel", money)

    def _price(self):
        """Return the price, or None."""
        return read_price((self[:1].offer or {}).get("price"))

    def _range(self, name):
        """Return the least and the most of steps (`steps`) or guidance (`cfg`), or False without a rule."""
        limits = (self.offer or {}).get({"steps": "steps", "cfg": "cfgScale"}[name])
        return bool(limits) and tuple(limits[:2])

    def _can_be_chosen(self):
        """Return whether the person may ask for pictures of it: it is offered, in one of the person's companies."""
        return bool(self.search_count([("id", "=", self.id), ("is_withdrawn", "=", False)], limit=1))

    def _sizes(self):
        """Return what sizes of the model a person can choose: shape → detail → resolution."""
        return sizes((self.offer or {}).get("resolutions"))

    @api.constrains("uuid")
    def _check_uuid(self):
        for model in self:
            if not UUID.match(model.uuid):
                raise ValidationError(
                    self.env._("%s is no UUID. One looks like 0b5c1f0e-7d3a-4c52-9a61-3f1f3c0f2a10.", model.uuid)
                )

    @api.model_create_multi
    def create(self, vals_list):
        return super().create([self._with_plain_uuid(vals) for vals in vals_list])

    def write(self, vals):
        """Whoever archives or unarchives a model decides so whatever the catalogue did before."""
        if "active" in vals:
            vals = {"is_withdrawn": False} | vals
        return super().write(self._with_plain_uuid(vals))

    @api.model
    def _with_plain_uuid(self, vals):
        """UUIDs are compared as texts, here and in N8N."""
        return dict(vals, uuid=vals["uuid"].strip().lower()) if vals.get("uuid") else vals
