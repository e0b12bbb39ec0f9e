"""What the model offers, and what a picture will cost, as the bridge's catalogue says."""

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..bridge.money import amount_text
from .aigen_image_request import one_of


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    shapes_offered = fields.Json(compute="_compute_offered")
    details_offered = fields.Json(compute="_compute_offered")
    takes_negative_prompt = fields.Boolean(compute="_compute_offered")
    takes_seed = fields.Boolean(compute="_compute_offered")
    steps_offered = fields.Char(compute="_compute_offered")
    cfg_offered = fields.Char(compute="_compute_offered")
    estimated_cost = fields.Char(compute="_compute_estimated_cost")

    @api.depends("model_id", "shape")
    def _compute_offered(self):
        for record in self:
            model, sizes = record.model_id, record.model_id._sizes()
            record.shapes_offered = list(sizes)
            record.details_offered = list(sizes.get(record.shape, ()))
            record.takes_negative_prompt = not model or model.takes_negative_prompt
            record.takes_seed = not model or model.takes_seed
            record.steps_offered = model.steps_offered
            record.cfg_offered = model.cfg_offered

    @api.depends("model_id", "resolution")
    @api.depends_context("lang")
    def _compute_estimated_cost(self):
        for record in self:
            price = record.model_id._price()
            record.estimated_cost = (
                price
                and record.resolution
                and self._show_amount(amount_text(price.of(record.resolution)), price.currency)
            )

    @api.constrains("model_id", "shape", "detail", "steps", "cfg")
    def _check_offer(self):
        for record in self.filtered(lambda record: record.status == "draft"):
            for words in record._not_offered(record.model_id).values():
                raise ValidationError(words)

    def _not_offered(self, model):
        """Return why a model does not take these wishes: field → words. 0 steps or guidance are left to the service."""
        found, sizes = {}, model._sizes()
        if model.is_withdrawn:
            found["model_id"] = self.env._("The model “%s” is no longer offered.", model.name)
        if self.detail not in sizes.get(self.shape, {}):
            found["shape"] = self.env._("The model “%s” does not offer this shape in this size.", model.name)
        for name in ("steps", "cfg"):
            limits = model._range(name)
            if limits and self[name] and not limits[0] <= round(self[name], 2) <= limits[1]:
                found[name] = self._describe_outside(name, model)
        return found

    def _describe_outside(self, name, model):
        return self.env._(
            "%(field)s: the model “%(model)s” takes %(limits)s.",
            field=self._fields[name]._description_string(self.env),
            model=model.name,
            limits=model._describe_range(name),
        )

    def _offered_instead(self):
        """Return what another picture with the same settings must change: field → value, and why: field → words."""
        model = self._default_model() if self.model_id.is_withdrawn else self.model_id
        if not model:
            raise UserError(self.env._("No model is offered at the moment. A manager adds one."))
        words, values = self._not_offered(model), {}
        if model != self.model_id:
            words["model_id"] = self._not_offered(self.model_id)["model_id"]
            values |= {"model_id": model.id, "steps": model.steps, "cfg": model.cfg}
        values |= {name: model[name] for name in ("steps", "cfg") if name in words}
        if "shape" in words:
            sizes = model._sizes()
            values["shape"] = one_of(sizes, self.shape, "1:1")
            values["detail"] = one_of(sizes.get(values["shape"]), self.detail, "standard")
        return values, words
