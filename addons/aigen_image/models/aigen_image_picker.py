"""Choosing a picture while something else is written, such as a web page: ready ones, and new ones in place."""

from odoo import api, models
from odoo.exceptions import UserError

from .aigen_image_batch import VARIANTS
from .aigen_image_request import one_of

PAGE = 40


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
        names = ["name", "is_favorite", "attachment_id", "thumbnail", "image_sha256"]
        pictures = found[:PAGE].with_context(bin_size=True).read(names, load=None)
        return {"pictures": pictures, "has_more": len(found) > PAGE}

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
        wishes = {"shape": one_of(model._sizes(), shape, "1:1"), "variants": str(variants)}
        draft = self.new({"model_id": model.id} | wishes)
        labels = dict(self._fields["shape"]._description_selection(self.env))
        return {
            "shapes": [[value, labels[value]] for value in draft.shapes_offered] if model else [],
            "shape": draft.shape,
            "price": draft.estimated_total,
        }

    @api.model
    def picker_generate(self, prompt, shape, variants=1):
        """Ask for new pictures, so many of each prompt that the text gives. Returns their ids."""
        if str(variants) not in dict(VARIANTS):
            raise UserError(self.env._("You can ask for 1 to %s pictures at once.", len(VARIANTS)))
        draft = self.create({"prompt": prompt, "shape": shape, "variants": str(variants)})
        draft.action_generate()
        return (draft.batch_id.request_ids or draft).ids
