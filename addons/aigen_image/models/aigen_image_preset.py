from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..bridge.placeholders import find_placeholders
from .aigen_image_request import DETAILS, PROMPT_MAX, SHAPES
from .series import Constraint

SETTINGS = ("prompt", "negative_prompt", "model_id", "shape", "detail", "steps", "cfg")
"""What a preset sets, in this order: a model decides what shapes there are, and a shape what details."""


class AigenImagePreset(models.Model):
    """Settings to start from. What is empty is left as it is when the preset is applied."""

    _name = "aigen.image.preset"
    _description = "AI image preset"
    _inherit = ["aigen.shared"]
    _order = "sequence, name, id"

    name = fields.Char(required=True, translate=True)
    sequence = fields.Integer(default=10)
    is_editable = fields.Boolean(compute="_compute_is_editable")
    prompt = fields.Text(help="Words in double braces are asked for: a portrait of {{subject}}, studio light.")
    negative_prompt = fields.Text("What must not be in it")
    model_id = fields.Many2one("aigen.image.model", ondelete="set null")
    shape = fields.Selection(SHAPES)
    detail = fields.Selection(DETAILS)
    steps = fields.Integer(help="0: as the model says.")
    cfg = fields.Float("Guidance", digits=(4, 2), help="0: as the model says.")

    _steps_range = Constraint("CHECK (steps BETWEEN 0 AND 100)", "Steps are a whole number from 0 to 100.")
    _cfg_range = Constraint("CHECK (cfg BETWEEN 0 AND 35)", "Guidance is a number from 0 to 35.")

    @api.depends("user_id")
    @api.depends_context("uid")
    def _compute_is_editable(self):
        """A new one is, too. Managers curate all."""
        editable = self._filtered_access("write")
        for preset in self:
            preset.is_editable = not preset._origin or preset in editable

    @api.constrains("prompt", "negative_prompt")
    def _check_texts(self):
        for preset in self:
            if max(len(preset.prompt or ""), len(preset.negative_prompt or "")) > PROMPT_MAX:
                raise ValidationError(self.env._("A text may have at most %s characters.", PROMPT_MAX))

    def propose(self, present):
        """Return what to change in a form with the `present` settings: `{values, notes, placeholders}`.

        `notes` say in words which wish of the preset cannot be had; `values` have the nearest that is offered instead.
        """
        preset = self.search([("id", "in", self.ids)])
        if not preset:
            raise UserError(
                self.env._("This preset is not there any more. It was deleted, or is no longer shared with you.")
            )
        picture = self.env["aigen.image.request"].new({name: present.get(name) for name in SETTINGS})
        before = {name: picture[name] for name in SETTINGS}
        notes = preset._apply_to(picture)
        values = preset._changed(picture, before)
        placeholders = find_placeholders(values.get("prompt"), values.get("negative_prompt"))
        return {"values": values, "notes": notes, "placeholders": placeholders}

    def _changed(self, picture, before):
        """Return the new values, and texts to fill in. A new model comes with all that the form computes from it."""
        model = picture.model_id
        kept = {name for name in ("prompt", "negative_prompt") if self[name]}
        if model != before["model_id"]:
            kept |= {"shape", "detail", "steps", "cfg"}
        values = {name: picture[name] for name in SETTINGS if name in kept or picture[name] != before[name]}
        if "model_id" in values:
            values["model_id"] = {"id": model.id, "display_name": model.display_name}
        return values

    def _apply_to(self, picture):
        """Set what the preset sets in a new request. Return words for what is not offered."""
        notes, wishes = [], {name: self[name] for name in SETTINGS if self[name]}
        if self.model_id and not self.model_id._can_be_chosen():
            del wishes["model_id"]
            notes.append(self.env._("The model of this preset is no longer offered, so the present one stays."))
        for name, value in wishes.items():
            picture[name] = value
            picture.mapped("steps")  # computed now, with the guidance: later, it would replace the preset's
        if picture.model_id:
            values, words = picture._offered_instead()
            picture.update(values)
            notes += words.values()
        return notes
