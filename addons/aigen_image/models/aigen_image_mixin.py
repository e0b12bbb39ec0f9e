from odoo import api, fields, models


class AigenImageMixin(models.AbstractModel):
    """For models with an image: have a picture made for a record, or choose one that is there.

    The form calls `action_make_picture` and `action_choose_picture`; the prompt comes from the model's
    `aigen.image.prompt.template`. The image field is stored as an attachment, as Odoo's image fields are.
    """

    _name = "aigen.image.mixin"
    _description = "AI images for records"
    _aigen_image_field = "image_1920"

    aigen_picture_count = fields.Integer("AI pictures", compute="_compute_aigen_picture_count")

    @api.depends_context("uid")
    def _compute_aigen_picture_count(self):
        """Count what was made for the record, and may be seen by the person."""
        requests, counts = self.env["aigen.image.request"], {}
        if requests.has_access("read"):
            domain = [("target_model", "=", self._name), ("target_id", "in", self.ids), ("attachment_id", "!=", False)]
            counts = dict(requests._read_group(domain, ["target_id"], ["__count"]))
        for record in self:
            record.aigen_picture_count = counts.get(record.id, 0)

    def action_make_picture(self):
        """Open a new picture for this record, with the words of the template."""
        self.ensure_one()
        self.env["aigen.image.request"].check_access("create")
        self.env["aigen.image.request"]._usable_target(self._name, self.id)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Make a picture"),
            "res_model": "aigen.image.request",
            "views": [(False, "form")],
            "context": {
                "default_prompt": self.env["aigen.image.prompt.template"]._prompt_for(self),
                "default_target_model": self._name,
                "default_target_id": self.id,
            },
        }

    def action_choose_picture(self):
        """Open the pictures that may be used for this record: those that were made for it first, if there are any."""
        self.ensure_one()
        self.env["aigen.image.request"]._usable_target(self._name, self.id)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Choose a picture"),
            "res_model": "aigen.image.request",
            "views": [(False, "kanban"), (False, "form")],
            "domain": [("status", "=", "completed"), ("attachment_id", "!=", False)],
            "context": {
                "aigen_target_model": self._name,
                "aigen_target_id": self.id,
                "aigen_target_name": self.display_name,
                "search_default_for_target": int(bool(self.aigen_picture_count)),
                "create": False,
            },
        }
