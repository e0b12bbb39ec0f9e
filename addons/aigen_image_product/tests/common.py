import base64

from odoo.tests import new_test_user

from odoo.addons.aigen_image.tests.common import AigenCase, payload, picture


class ProductCase(AigenCase):
    """Ann may change products, Bob may not, Mia approves. There is a product without an image."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.ref("product.group_product_manager")._aigen_add_users(cls.ann.ids)
        cls.eve = new_test_user(cls.env, "aigen_eve", groups="base.group_user,aigen_image.group_approver")
        cls.lamp = cls.env["product.template"].create({"name": "Desk lamp"})

    def ready(self, colour="teal", user=None, **values):
        """A picture that is there."""
        record = self.underway(user=user, **values)
        self.apply(payload(record, content=picture(colour)))
        self.assertEqual(record.status, "completed")
        return record

    def for_lamp(self, record, user=None):
        """The picture, as it is looked at when one is chosen for the lamp."""
        target = {"aigen_target_model": "product.template", "aigen_target_id": self.lamp.id}
        return record.with_user(user or record.env.user).with_context(**target)

    def assertShows(self, colour):
        """The lamp has this picture, or none."""
        self.lamp.invalidate_recordset()
        image = self.lamp.with_context(bin_size=False).image_1920
        self.assertEqual(base64.b64decode(image or b""), picture(colour) if colour else b"")
