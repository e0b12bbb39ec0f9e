"""The words of a picture: placeholders that are not filled in yet, and the person's recent prompts."""

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..bridge.placeholders import find_placeholders

RECENT = 30


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    unfilled = fields.Char(compute="_compute_unfilled")
    """What is still to be replaced before the picture can be asked for, in words."""

    @api.depends("prompt", "negative_prompt")
    @api.depends_context("lang")
    def _compute_unfilled(self):
        for record in self:
            names = find_placeholders(record.prompt, record.negative_prompt)
            shown = ", ".join(f"{{{{{name}}}}}" for name in names)
            record.unfilled = bool(names) and self.env._("Put your own words in place of %s.", shown)

    def action_generate(self):
        """Refuses prompts with placeholders: the AI service would paint the braces."""
        for record in self.filtered(lambda record: record.status == "draft" and record.unfilled):
            raise UserError(record.unfilled)
        return super().action_generate()

    @api.model
    def recent_prompts(self, words="", *, favorites=False):
        """Return prompts that the person used last, each once: `[{id, prompt, source}]` of its latest picture.

        `words`: only those with them. `favorites`: those of the person's favourites instead, whoever made them.
        """
        whose = ("is_favorite", "=", True) if favorites else ("user_id", "=", self.env.uid)
        domain = [whose, ("status", "!=", "draft"), ("prompt", "ilike", words or "")]
        found = self._read_group(domain, ["prompt"], ["id:max"], order="id:max DESC", limit=RECENT)
        pictures = self.browse(latest for _prompt, latest in found)
        sources = pictures._small_sources()
        return [{"id": one.id, "prompt": one.prompt, "source": sources.get(one.id)} for one in pictures]
