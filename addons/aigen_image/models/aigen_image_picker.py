"""Choosing a picture while something else is written, such as a web page: ready ones, and new ones in place."""

from odoo import api, models
from odoo.exceptions import UserError

from ..bridge.money import amount_text
from .aigen_image_request import one_of

PAGE = 40
VARIANTS_MAX = 8


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    @api.model
    def picker_search(self, needle="", offset=0):
        """Return ready pictures, favourites first, and whether there are more: `{pictures, has_more}`."""
        domain = self._picker_domain(needle)
        favorites, others = ([*domain, ("is_favorite", "=", value)] for value in (True, False))
        found = self.search(favorites, offset=offset, limit=PAGE + 1)
        if missing := PAGE + 1 - len(found):
            passed = max(0, offset - self.search_count(favorites))
            found += self.search(others, offset=passed, limit=missing)
        names = ["name", "is_favorite", "attachment_id", "image_sha256"]
        return {"pictures": found[:PAGE].read(names, load=None), "has_more": len(found) > PAGE}

    @api.model
    def _picker_domain(self, needle):
        """Return which pictures are offered: those that are here, with the words in the prompt or in a tag."""
        ready = [("status", "=", "completed"), ("attachment_id", "!=", False)]
        words = ["|", ("prompt", "ilike", needle), ("tag_ids.name", "ilike", needle)]
        return [*ready, *words] if needle else ready

    @api.model
    def picker_offer(self, shape="", variants=1):
        """Return what a new picture may be: `{shapes, shape, price}`. No shapes: there is no model to make it."""
        model = self._default_model()
        draft = self.new({"model_id": model.id, "shape": one_of(model._sizes(), shape, "1:1")})
        labels, price = dict(self._fields["shape"]._description_selection(self.env)), model._price()
        amount = price and draft.resolution and amount_text(price.of(draft.resolution, variants))
        return {
            "shapes": [[value, labels[value]] for value in draft.shapes_offered] if model else [],
            "shape": draft.shape,
            "price": amount and self._show_amount(amount, price.currency),
        }

    @api.model
    def picker_generate(self, prompt, shape, variants=1):
        """Ask for new pictures, each with a seed of its own. Returns their ids."""
        if variants not in range(1, VARIANTS_MAX + 1):
            raise UserError(self.env._("One can ask for 1 to %s pictures at once.", VARIANTS_MAX))
        pictures = self.create([{"prompt": prompt, "shape": shape} for _ in range(variants)])
        pictures.action_generate()
        return pictures.ids

    def _check_usable(self):
        """Raise `UserError` if one of these pictures may not be used elsewhere."""
        if not all(record.attachment_id for record in self):
            raise UserError(self.env._("Only pictures that are ready can be used."))
