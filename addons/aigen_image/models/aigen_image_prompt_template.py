from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError
from odoo.tools import format_date, format_datetime, html2plaintext

from ..bridge.fill import fill, paths
from .aigen_image_request import PROMPT_MAX
from .series import Constraint

WORDS_MAX = 500
"""Of one field in a prompt: descriptions of products can be pages."""
UNFIT = frozenset({"binary", "image", "json", "properties", "properties_definition", "reference"})
"""Types of fields that are no words."""


class AigenImagePromptTemplate(models.Model):
    """The words that a picture for a record is asked for with, as long as the person does not change them.

    Fields of the record in double braces are filled in as the person may read them: `A photo of {{ name }}`. It is no
    code: there are fields, and fields of related records, and nothing else.
    """

    _name = "aigen.image.prompt.template"
    _description = "AI image prompt template"
    _rec_name = "model"

    model = fields.Selection(selection=lambda self: self._selection_model(), string="For pictures of", required=True)
    prompt = fields.Text(
        required=True,
        translate=True,
        help="Fields of the record in double braces: A photo of {{ name }}, {{ categ_id.name }}, on white.",
    )

    _model_unique = Constraint("UNIQUE (model)", "There is a template for these records already.")

    @api.model
    def _selection_model(self):
        """Return the models that pictures can be made for."""
        mixin = self.env.registry["aigen.image.mixin"]
        names = [name for name, model in self.env.registry.items() if issubclass(model, mixin) and not model._abstract]
        return [(name, self.env["ir.model"]._get(name).name) for name in sorted(names)]

    @api.constrains("model", "prompt")
    def _check_paths(self):
        for template in self:
            for path in paths(template.prompt):
                if not self._is_path(self.env[template.model], path):
                    raise ValidationError(
                        self.env._("{{ %(path)s }}: “%(model)s” has no such field.", path=path, model=template.model)
                    )

    @api.model
    def _is_path(self, record, path):
        for name in path.split("."):
            field = record is not None and record._fields.get(name)
            if not field or field.type in UNFIT:
                return False
            record = self.env[field.comodel_name] if field.relational else None
        return True

    @api.model
    def _prompt_for(self, record):
        """Return the prompt for a picture of this record: by its template, or just its name."""
        template = self.search([("model", "=", record._name)], limit=1)
        text = template.prompt or "{{ display_name }}"
        return fill(text, lambda path: _words(record, path)[:WORDS_MAX])[:PROMPT_MAX]


def _words(record, path):
    """Return what a person may read at this path, as words; "" where there is nothing, or nothing to read."""
    *steps, name = path.split(".")
    try:
        for step in steps:
            record = record[step]
        return ", ".join(filter(None, (_word(each, name) for each in record if each.fields_get([name], []))))
    except (AccessError, KeyError):
        return ""  # KeyError: the field was removed since the template was written


def _word(record, name):
    field, value = record._fields[name], record[name]
    if field.relational:
        return ", ".join(record[name].mapped("display_name"))
    if field.type == "selection":
        return dict(field._description_selection(record.env)).get(value, "")
    if field.type == "date":
        return format_date(record.env, value)
    if field.type == "datetime":
        return format_datetime(record.env, value, dt_format="medium") if value else ""
    if field.type == "html":
        return html2plaintext(value or "", include_references=False)
    return "" if value is False else str(value)
