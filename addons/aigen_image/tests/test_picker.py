from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from ..models import aigen_image_picker
from .common import AigenCase, payload


@tagged("post_install", "-at_install")
class TestPicker(AigenCase):
    """Choosing a picture, or asking for new ones, while something else is written."""

    def setUp(self):
        super().setUp()
        self.env["aigen.image.model"].search([("id", "!=", self.model.id)]).active = False
        self.requests = self.env["aigen.image.request"].with_user(self.ann)

    def ready(self, user=None, **values):
        record = self.underway(user=user, **values)
        self.apply(payload(record))
        self.env.invalidate_all()
        return record

    def names(self, needle="", offset=0):
        return [one["name"] for one in self.requests.picker_search(needle, offset)["pictures"]]

    def test_favourites_come_first_and_what_is_not_ready_does_not_come(self):
        old = self.ready(prompt="Old")
        self.ready(prompt="New")
        self.underway(prompt="Not yet")
        old.sudo().favorite_user_ids = self.ann
        self.assertEqual(self.names(), ["Old", "New"])
        [first, second] = self.requests.picker_search()["pictures"]
        self.assertEqual((first["is_favorite"], second["is_favorite"]), (True, False))
        self.assertEqual(first["attachment_id"], old.attachment_id.id)

    def test_pages_follow_each_other_over_favourites_and_others(self):
        records = [self.ready(prompt=f"Picture {number}") for number in range(5)]
        for record in records[:3]:
            record.sudo().favorite_user_ids = self.ann
        self.patch(aigen_image_picker, "PAGE", 2)
        pages = [self.requests.picker_search(offset=offset) for offset in (0, 2, 4)]
        names = [[int(one["name"][-1]) for one in page["pictures"]] for page in pages]
        self.assertEqual(names, [[2, 1], [0, 4], [3]])
        self.assertEqual([page["has_more"] for page in pages], [True, True, False])

    def test_the_words_are_looked_for_in_prompts_and_tags(self):
        self.ready(prompt="A boat")
        tagged_one = self.ready(prompt="A house")
        tagged_one.sudo().tag_ids = self.env["aigen.image.tag"].create({"name": "Boats"})
        self.ready(prompt="A tree")
        self.assertEqual(self.names("boat"), ["A house", "A boat"])

    def test_nobody_is_offered_pictures_of_others_unless_they_are_shared(self):
        theirs = self.ready(user=self.bob, prompt="Of Bob")
        self.assertEqual(self.names(), [])
        board = self.env["aigen.image.board"].with_user(self.bob).create({"name": "All", "visibility": "company"})
        self.env["aigen.image.board.item"].with_user(self.bob).create({"board_id": board.id, "request_id": theirs.id})
        self.env.invalidate_all()
        self.assertEqual(self.names(), ["Of Bob"])
        with self.assertRaises(AccessError):
            self.env["aigen.image.request"].with_user(self.stranger).picker_search()

    def test_variants_are_asked_for_at_once_with_seeds_of_their_own(self):
        self.bridge.takes_requests()
        ids = self.requests.picker_generate("A boat", "16:9", 4)
        self.commit()
        records = self.requests.browse(ids)
        self.assertEqual(set(records.mapped("status")), {"queued"})
        self.assertEqual(len(set(records.mapped("seed"))), 4)
        self.assertEqual(records.user_id, self.ann)
        self.assertEqual({event["aspectRatio"] for event in self.bridge.sent()}, {"16:9"})

    def test_what_cannot_be_asked_for_is_refused_in_words(self):
        for variants in (0, 9, 1000, "many"):
            with self.assertRaises(UserError):
                self.requests.picker_generate("A boat", "1:1", variants)
        with self.assertRaises(ValidationError):
            self.requests.picker_generate("  ", "1:1")
        with self.assertRaises(AccessError):
            self.env["aigen.image.request"].with_user(self.stranger).picker_generate("A boat", "1:1")

    def test_the_offer_has_the_shapes_of_the_model_and_what_so_many_cost(self):
        self.model.offer = {
            "resolutions": ["1024x1024", "1344x768"],
            "price": {"amount": "0.04", "currency": "USD", "per": "image"},
        }
        offer = self.requests.picker_offer("16:9", 4)
        self.assertEqual([value for value, _label in offer["shapes"]], ["1:1", "16:9"])
        self.assertEqual((offer["shape"], offer["price"]), ("16:9", "0.16 USD"))
        self.assertEqual(self.requests.picker_offer("21:9")["shape"], "1:1")

    def test_without_a_model_there_is_no_offer(self):
        self.model.active = False
        self.assertEqual(self.requests.picker_offer(), {"shapes": [], "shape": "1:1", "price": False})
