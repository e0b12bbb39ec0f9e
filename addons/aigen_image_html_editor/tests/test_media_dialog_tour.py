import re
from contextlib import closing
from unittest.mock import patch

from odoo.tests import HttpCase, new_test_user, tagged

from odoo.addons.aigen_image.bridge import client
from odoo.addons.aigen_image.models.aigen_bridge import AigenBridge
from odoo.addons.aigen_image.tests.common import FakeBridge, OneTimeout, described, payload, picture
from odoo.addons.aigen_image.tests.test_tour import at_once

FONTS = re.compile(rb'@import url\("https://fonts[^;]*;')
SOURCE = re.compile(r'<img(?=[^>]*alt="A red boat")[^>]*? src="(/web/image/[^"?]*)')
PAGE = """<t t-name="aigen_page"><t t-call="website.layout"><div id="wrap" class="oe_structure oe_empty">
    <section class="s_text_image" data-snippet="s_text_image"><div class="container"><div class="row">
        <div class="col-lg-6"><p>Words</p></div>
        <div class="col-lg-6"><img src="/web/image/website.s_text_image_default_image" class="img" alt=""/></div>
    </div></div></section>
</div></t></t>"""


@tagged("post_install", "-at_install")
class TestMediaDialogTour(OneTimeout, HttpCase):
    def test_a_new_picture_is_made_for_a_web_page_and_visitors_see_it(self):
        if "website" not in self.env:
            self.skipTest("There is no website.")
        self.set_up_pictures()
        values = {"name": "Page", "type": "qweb", "url": "/aigen-page", "arch": PAGE, "is_published": True}
        page = self.env["website.page"].create(values)
        self.forget_fonts()
        address = f"/odoo/action-website.website_preview?path={page.url}&enable_editor=1"
        with patch.object(AigenBridge, "_after_commit", at_once):
            self.start_tour(address, "aigen_media_dialog", login="aigen_ann", timeout=240)
        self.assertEqual(self.env["aigen.image.request"].search_count([("prompt", "=", "A red boat")]), 2)
        copies = self.env["ir.attachment"].search(
            [("res_model", "=", "ir.ui.view"), ("description", "=", "A red boat")]
        )
        original = copies.filtered(lambda copy: not copy.original_id)  # the editor may show a smaller one made of it
        self.authenticate(None, None)
        [source] = SOURCE.findall(self.url_open(page.url).text)
        self.assertIn(int(source.split("/")[3].split("-")[0]), copies.ids)
        self.assertIn("image/", self.url_open(source).headers["Content-Type"])
        self.assertEqual(self.url_open(original.image_src).content, self.content)

    def set_up_pictures(self):
        bridge = self.enterContext(closing(FakeBridge()))
        bridge.say("POST", client.REQUESTS, 202, lambda event: self.take(bridge, event))
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("aigen_image.bridge_url", bridge.url)
        parameters.set_param("aigen_image.bridge_key", "key-of-odoo")
        self.env["aigen.image.model"].search([]).active = False
        self.env["aigen.image.model"].create({"name": "Photo"})
        groups = "base.group_user,website.group_website_designer,aigen_image.group_user"
        self.ann = new_test_user(self.env, "aigen_ann", groups=groups)
        self.content = picture(width=1024, height=1024)
        for prompt in ("An old boat", "A lighthouse"):
            self.ready(prompt)

    def take(self, bridge, event):
        """What the bridge says: the picture is ready when it is asked about it."""
        place = f"{client.REQUESTS}/{event['requestId']}"
        taken = {"requestId": event["requestId"], "status": "queued", "version": 1}
        bridge.say("GET", place, 200, taken | {"status": "completed", "version": 3, "image": described(self.content)})
        bridge.say("GET", f"{place}/image", 200, self.content)
        return taken

    def ready(self, prompt):
        record = self.env["aigen.image.request"].with_user(self.ann).create({"prompt": prompt})
        record.sudo().status = "queued"
        robot = self.env.ref("aigen_image.user_bridge")
        self.env["aigen.image.request"].with_user(robot).bridge_apply_result(payload(record, content=self.content))

    def forget_fonts(self):
        """Odoo's styles import fonts from the internet; without one, the website editor of Odoo 18 does not start."""
        styles = [("url", "=like", "/web/assets/%.css"), ("res_model", "=", "ir.ui.view")]
        for attachment in self.env["ir.attachment"].search(styles):
            if FONTS.search(attachment.raw or b""):
                attachment.write({"raw": FONTS.sub(b"", attachment.raw), "mimetype": "text/css"})
