from odoo.exceptions import UserError, ValidationError
from odoo.tests import Form, tagged

from .common import AigenCase, payload

OFFER = {
    "name": "Photo",
    "negativePrompt": False,
    "seed": True,
    "steps": [4, 30, 28],
    "cfgScale": [1.5, 8, 3.5],
    "resolutions": ["1344x768", "1920x1088", "768x768"],
    "price": {"amount": "0.035", "currency": "USD", "per": "megapixel"},
}


@tagged("post_install", "-at_install")
class TestOffer(AigenCase):
    def setUp(self):
        super().setUp()
        self.free = self.env["aigen.image.model"].create({"name": "Without rules", "steps": 50, "sequence": 99})

    def offer(self, **changes):
        self.model.offer = OFFER | changes

    def test_a_form_begins_with_what_the_model_offers_and_follows_it(self):
        self.offer(resolutions=["1344x768", "1920x1088"])
        form = Form(self.env["aigen.image.request"].with_user(self.ann))
        form.model_id = self.model
        self.assertEqual((form.shape, form.detail, form.resolution), ("16:9", "standard", "1344x768"))
        self.assertEqual((form.shapes_offered, form.details_offered), (["16:9"], ["standard", "large"]))
        form.model_id = self.free
        self.assertEqual((form.shape, form.steps, len(form.shapes_offered)), ("16:9", 50, 8))

    def test_a_detail_that_a_shape_lacks_becomes_one_that_it_has(self):
        self.offer()
        form = Form(self.env["aigen.image.request"].with_user(self.ann))
        form.model_id = self.model
        form.shape = "16:9"
        form.detail = "large"
        self.assertEqual(form.resolution, "1920x1088")
        form.shape = "1:1"
        self.assertEqual((form.detail, form.resolution), ("standard", "768x768"))

    def test_a_wish_beyond_the_ranges_is_not_kept_whoever_writes_it(self):
        self.offer()
        record = self.draft(shape="16:9")
        wrong = {"steps": 31, "cfg": 1.4, "shape": "3:4", "detail": "preview"}
        for name, value in wrong.items():
            with self.assertRaises(ValidationError, msg=name), self.cr.savepoint():
                record.write({name: value})
        with self.assertRaisesRegex(ValidationError, "takes 4 to 30"):
            self.draft(shape="16:9", steps=31)
        record.write({"steps": 0, "cfg": 0})  # left to the service
        self.model.is_withdrawn = True
        with self.assertRaisesRegex(ValidationError, "no longer offered"):
            self.draft(shape="16:9")

    def test_what_the_model_does_not_know_must_not_be_in_it_is_kept_but_not_sent(self):
        self.offer()
        self.underway(shape="16:9", negative_prompt="people")
        self.assertNotIn("negativePrompt", self.bridge.sent()[0])
        self.offer(negativePrompt=True)
        self.underway(shape="16:9", negative_prompt="people")
        self.assertEqual(self.bridge.sent()[1]["negativePrompt"], "people")

    def test_a_picture_that_was_made_keeps_its_settings_when_the_model_changes(self):
        record = self.underway(shape="3:4", steps=50)
        self.offer()
        self.apply(payload(record))
        self.assertEqual(
            (record.status, record.shape, record.steps, record.resolution), ("completed", "3:4", 50, "864x1152")
        )

    def test_generate_again_with_settings_that_are_no_longer_offered_shows_them_first(self):
        record = self.underway(shape="3:4", steps=50, prompt="A kite")
        self.offer()
        another = self.env["aigen.image.request"].browse(record.action_generate_again()["res_id"])
        self.commit()
        self.assertEqual((another.status, another.prompt), ("draft", "A kite"))
        self.assertEqual((another.shape, another.detail, another.steps), ("1:1", "standard", 28))
        self.assertIn("takes 4 to 30", another.steps_refusal)
        self.assertIn("this shape", another.shape_refusal)
        self.assertEqual(len(self.bridge.sent()), 1)

    def test_generate_again_of_a_model_that_is_gone_takes_another_one(self):
        record = self.underway()
        self.model.write({"active": False, "is_withdrawn": True})
        self.env["aigen.image.model"].search([("id", "!=", self.free.id)]).active = False
        another = self.env["aigen.image.request"].browse(record.action_generate_again()["res_id"])
        self.assertEqual((another.status, another.model_id, another.steps), ("draft", self.free, 50))
        self.assertIn("no longer offered", another.model_id_refusal)
        self.free.active = False
        with self.assertRaisesRegex(UserError, "No model is offered"):
            record.action_vary()

    def test_what_is_still_offered_is_asked_for_again_at_once(self):
        self.offer()
        record = self.underway(shape="16:9", steps=20)
        another = self.env["aigen.image.request"].browse(record.action_generate_again()["res_id"])
        self.commit()
        self.assertEqual((another.status, another.steps, another.shape), ("queued", 20, "16:9"))

    def test_the_price_is_exact_and_follows_the_size(self):
        self.offer()
        record = self.draft(shape="16:9")
        self.assertEqual(record.estimated_cost, "0.03612672 USD")  # 1.032192 megapixels
        record.detail = "large"
        self.assertEqual(record.estimated_cost, "0.0731136 USD")
        self.offer(price={"amount": "2.5", "currency": "EUR", "per": "image"})
        self.env.invalidate_all()
        self.assertEqual(record.estimated_cost, "2.50 EUR")
        self.env["res.lang"]._activate_lang("de_DE")
        self.assertEqual(record.with_context(lang="de_DE").estimated_cost, "2,50 EUR")
        record.model_id = self.free
        self.assertFalse(record.estimated_cost)
