from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged

from odoo.addons.aigen_image.bridge.fill import fill, paths

from .common import ProductCase


@tagged("post_install", "-at_install")
class TestPrompt(ProductCase):
    """A picture for a record begins with the words of a template."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.template = cls.env.ref("aigen_image_product.prompt_template_product")

    def prompt(self, text):
        self.template.prompt = text
        return self.env["aigen.image.prompt.template"]._prompt_for(self.lamp.with_user(self.ann))

    def test_braces_are_filled_and_what_is_empty_goes_with_its_comma(self):
        values = {"a": "one", "b": "", "c": "x  {y|z}"}
        for text, wanted in {
            "{{ a }}, {{b}}, end": "one, end",
            "{{object.a}} {{ b }}.": "one.",
            "{{ b }}, {{ a }}": "one",
            "{{ c }}": "x (y|z)",
            "{{ a }": "{{ a }",
            "a {red|blue} boat, {{ a }}": "a {red|blue} boat, one",
        }.items():
            self.assertEqual(fill(text, values.__getitem__), wanted)
        self.assertEqual(paths("{{ a.b }} {{ object.c }} {{ 1 + 1 }} {{ d() }}"), ["a.b", "c"])

    def test_fields_and_fields_of_related_records_are_words(self):
        lamps = self.env["product.category"].create({"name": "Lamps"})
        self.lamp.write({"description_sale": "Brass,\nwarm <b>light</b>", "categ_id": lamps.id})
        self.assertEqual(self.prompt("{{ name }}: {{ description_sale }}"), "Desk lamp: Brass, warm <b>light</b>")
        self.assertEqual(self.prompt("{{ categ_id.name }} {{ type }}"), "Lamps Goods")

    def test_what_the_person_may_not_read_is_left_out(self):
        self.patch(self.registry["product.template"]._fields["description_sale"], "groups", "base.group_system")
        self.lamp.description_sale = "secret"
        self.assertEqual(self.prompt("{{ name }}, {{ description_sale }}, lit"), "Desk lamp, lit")

    def test_long_texts_are_cut(self):
        self.lamp.description_sale = "word " * 2000
        self.assertLessEqual(len(self.prompt("{{ description_sale }}")), 500)

    def test_a_template_names_fields_only_that_are_there_and_are_words(self):
        for text in (
            "{{ nonsense }}",
            "{{ categ_id.nonsense }}",
            "{{ name.x }}",
            "{{ image_1920 }}",
            "{{ __class__ }}",
        ):
            with self.assertRaises(ValidationError, msg=text):
                self.template.prompt = text
        self.template.prompt = "{{ name.upper() }} {{ 1 + 1 }} ${object} <t t-out='1'/>"  # no fields, just words

    def test_without_a_template_the_name_is_the_prompt(self):
        self.template.unlink()
        context = self.lamp.with_user(self.ann).action_make_picture()["context"]
        self.assertEqual(context["default_prompt"], "Desk lamp")

    def test_managers_edit_templates_and_others_do_not(self):
        self.template.with_user(self.mia).prompt = "A lamp"
        with self.assertRaises(AccessError):
            self.template.with_user(self.ann).prompt = "Mine"
        names = dict(self.env["aigen.image.prompt.template"]._fields["model"]._description_selection(self.env))
        self.assertIn("product.template", names)
        self.assertNotIn("aigen.image.mixin", names)
