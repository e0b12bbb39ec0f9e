import base64

from odoo.tests import tagged

from odoo.addons.aigen_image.tests.common import AigenCase, payload, picture


@tagged("post_install", "-at_install")
class TestEvent(AigenCase):
    def test_a_picture_is_made_for_an_event_and_becomes_the_background_of_its_badges(self):
        self.env.ref("event.group_event_manager")._aigen_add_users(self.ann.ids)
        values = {"name": "Autumn fair", "date_begin": "2030-10-01 08:00:00", "date_end": "2030-10-02 17:00:00"}
        event = self.env["event.event"].create(values | {"address_id": False}).with_user(self.ann)
        context = event.action_make_picture()["context"]
        self.assertEqual(
            context["default_prompt"],
            "A calm background for the badges of Autumn fair, with room for a name, no text",
        )
        record = self.underway(target_model="event.event", target_id=event.id)
        self.apply(payload(record))
        record.action_use()
        self.assertEqual(base64.b64decode(event.with_context(bin_size=False).badge_image), picture())
