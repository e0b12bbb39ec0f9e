import io
import re
from datetime import timedelta
from urllib.parse import quote

from PIL import Image

from odoo import fields
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from odoo.addons.aigen_image.tests.common import picture

from .common import LinkCase


@tagged("post_install", "-at_install")
class TestSharedPages(LinkCase, HttpCase):
    """What a link shows to people without a login."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.robot = cls.env.ref("aigen_image.user_bridge")
        cls.model = cls.env["aigen.image.model"].create({"name": "Photo"})
        groups = "base.group_user,aigen_image.group_user"
        cls.ann = new_test_user(cls.env, "aigen_ann", groups=groups, name="Ann Secret")

    def get(self, link, path="", *, token=None, **more):
        query = "".join(f"&{name}={value}" for name, value in more.items())
        token = link.access_token if token is None else token
        return self.url_open(f"/aigen/shared/{link.id}{path}?access_token={quote(token)}{query}")

    def assertClosed(self, link, *pictures, token=None, status=404):
        """Neither the page nor the bytes are shown."""
        self.env.flush_all()
        page = self.get(link, token=token)
        self.assertEqual(page.status_code, status)
        self.assertNotIn("A title", page.text)
        self.assertIn("expired" if status == 403 else "nothing to see", page.text)
        for one in pictures:
            with mute_logger("odoo.http"):
                self.assertEqual(self.get(link, f"/{one.id}/file", token=token).status_code, 404)
            self.assertEqual(self.get(link, f"/{one.id}", token=token).status_code, status)

    def test_the_page_shows_the_title_and_the_picture_and_nothing_else_of_it(self):
        one = self.ready()
        link = self.share(one, title="<b>Lighthouse</b>")
        page = self.get(link)
        self.assertEqual(page.status_code, 200)
        self.assertIn("&lt;b&gt;Lighthouse&lt;/b&gt;", page.text)
        self.assertNotIn("<b>Lighthouse", page.text)
        self.assertNotIn("Secret", page.text)
        self.assertIn(f"/aigen/shared/{link.id}/{one.id}/file?access_token={link.access_token}", page.text)
        self.assertEqual(self.get(link, f"/{one.id}/file").content, one.attachment_id.raw)

    def test_pages_and_bytes_stay_out_of_search_engines_caches_and_referrers(self):
        one = self.ready()
        link = self.share(one)
        for path, cache in (("", "no-store"), (f"/{one.id}/file", "private, no-cache")):
            headers = self.get(link, path).headers
            self.assertEqual(headers["X-Robots-Tag"], "noindex")
            self.assertEqual(headers["Referrer-Policy"], "no-referrer")
            self.assertEqual(headers["Cache-Control"], cache)
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")

    def test_the_file_is_downloaded_under_the_title(self):
        one = self.ready()
        kept = self.get(self.share(one, title="Sea: calm"), f"/{one.id}/file", download="true")
        self.assertEqual(kept.headers["Content-Disposition"], 'attachment; filename="Sea calm.png"')
        kept = self.get(self.share(self.board(self.ready(), one), title="Autumn"), f"/{one.id}/file", download="true")
        self.assertEqual(kept.headers["Content-Disposition"], 'attachment; filename="Autumn 2.png"')

    def test_without_the_right_token_there_is_nothing(self):
        one, other = self.ready(), self.ready()
        link, of_other = self.share(one), self.share(other)
        for token in ("", "wrong", "schön", of_other.access_token):
            self.assertClosed(link, one, other, token=token)
        self.assertClosed(link.browse(link.id + 1000), one, token=link.access_token)
        self.assertClosed(link.browse(2**40), one, token=link.access_token)
        self.assertEqual(self.get(link, f"/{other.id}/file").status_code, 404)

    def test_an_expired_link_says_so_to_whoever_has_the_token(self):
        one = self.ready()
        link = self.share(one)
        link.expires_at = fields.Datetime.now() - timedelta(seconds=1)
        self.assertClosed(link, one, status=403)
        self.assertClosed(link, one, token="wrong")

    def test_a_renewed_link_has_another_address(self):
        one = self.ready()
        old = self.share(one).access_token
        link = self.share(one)
        self.assertClosed(link, one, token=old)
        self.assertEqual(self.get(link).status_code, 200)

    def test_a_stopped_link_shows_nothing(self):
        one = self.ready()
        link = self.share(one)
        token = link.access_token
        one.link_ids.action_stop()
        self.assertClosed(link, one, token=token)

    def test_an_archived_picture_is_not_shown(self):
        one = self.ready()
        link = self.share(one)
        one.active = False
        self.assertClosed(link, one)
        one.active = True
        self.assertEqual(self.get(link).status_code, 200)

    def test_a_board_shows_its_ready_pictures_and_the_small_ones_are_small(self):
        one, two, elsewhere = self.ready(content=picture(width=1024, height=640)), self.ready(), self.ready()
        draft = self.env["aigen.image.request"].with_user(self.ann).create({"prompt": "A", "model_id": self.model.id})
        link = self.share(self.board(one, two, draft))
        page = self.get(link)
        self.assertIn("A title", page.text)
        for each, is_shown in ((one, True), (two, True), (elsewhere, False), (draft, False)):
            self.assertEqual(f"/{each.id}/file" in page.text, is_shown)
            self.assertEqual(self.get(link, f"/{each.id}").status_code, 200 if is_shown else 404)
            self.assertEqual(self.get(link, f"/{each.id}/file").status_code, 200 if is_shown else 404)
        self.assertEqual(self.size(self.get(link, f"/{one.id}/file", small=1)), (512, 320))
        self.assertEqual(self.size(self.get(link, f"/{one.id}/file")), (1024, 640))

    def size(self, answer):
        with Image.open(io.BytesIO(answer.content)) as image:
            return image.size

    def test_a_picture_that_leaves_the_board_is_shown_no_longer(self):
        one, two = self.ready(), self.ready()
        board = self.board(one, two)
        link = self.share(board)
        self.assertEqual(self.get(link, f"/{two.id}/file").status_code, 200)
        board.item_ids[1].sudo().unlink()
        self.assertEqual(self.get(link, f"/{one.id}/file").status_code, 200)
        for path in (f"/{two.id}/file", f"/{two.id}"):
            self.assertEqual(self.get(link, path).status_code, 404)

    def test_an_archived_board_is_not_shown_nor_are_archived_pictures_on_it(self):
        one, two = self.ready(), self.ready()
        board = self.board(one, two)
        link = self.share(board)
        two.active = False
        self.assertEqual(self.get(link, f"/{two.id}/file").status_code, 404)
        self.assertEqual(self.get(link).status_code, 200)
        board.active = False
        self.assertClosed(link, one)

    def test_a_board_with_many_pictures_has_pages_in_the_order_of_the_board(self):
        pictures = [self.ready() for _ in range(26)]
        board = self.board(*pictures)
        board.item_ids[25].sudo().sequence = 1
        link = self.share(board)
        self.assertEqual(self.shown(self.get(link)), [pictures[25].id, *(one.id for one in pictures[:23])])
        last = [one.id for one in pictures[23:25]]
        self.assertEqual(self.shown(self.get(link, "/page/2")), last)
        self.assertEqual(self.shown(self.get(link, "/page/99")), last)
        self.assertIn("25 / 26", " ".join(self.get(link, f"/{last[0]}").text.replace("<", " <").split()))

    def shown(self, page):
        return [int(one) for one in re.findall(r"/(\d+)/file\?access_token=[^\"]+small=1", page.text)]

    def test_a_link_ends_with_the_right_of_the_person_who_shared_it(self):
        one = self.ready()
        links = [self.share(one), self.share(self.board(one))]
        self.ann.active = False
        for link in links:
            self.assertClosed(link, one)
        self.ann.active = True
        self.assertEqual(self.get(links[0]).status_code, 200)
        group = self.env.ref("aigen_image.group_user")
        group["user_ids" if "user_ids" in group._fields else "users"] -= self.ann
        for link in links:
            self.assertClosed(link, one)

    def test_a_board_shows_only_what_the_person_who_shared_it_may_see(self):
        one, of_other_company = self.ready(), self.ready()
        link = self.share(self.board(one, of_other_company))
        of_other_company.sudo().company_id = self.env["res.company"].create({"name": "Elsewhere"})
        self.assertEqual(self.get(link, f"/{one.id}/file").status_code, 200)
        for path in ("", "/file"):
            self.assertEqual(self.get(link, f"/{of_other_company.id}{path}").status_code, 404)

    def test_links_stop_working_when_they_are_switched_off(self):
        one = self.ready()
        link = self.share(one)
        self.env["ir.config_parameter"].set_param("aigen_image_portal.links", False)
        self.assertClosed(link, one)

    def test_a_login_opens_no_more_than_the_token(self):
        one = self.ready()
        link = self.share(one)
        new_test_user(self.env, "aigen_customer", groups="base.group_portal")
        for login in ("aigen_customer", "aigen_ann"):
            self.authenticate(login, login)
            self.assertClosed(link, one, token="")
            self.assertEqual(self.get(link).status_code, 200)

    def test_the_token_opens_nothing_else(self):
        one = self.ready()
        link = self.share(one)
        token = f"access_token={link.access_token}"
        for path in (
            f"/web/image/{one.attachment_id.id}",
            f"/web/content/{one.attachment_id.id}",
            f"/web/content/aigen.image.request/{one.id}/raw",
            f"/web/content/aigen.image.link/{link.id}/title",
        ):
            with mute_logger("odoo.http", "odoo.addons.web.controllers.binary"):
                answer = self.url_open(f"{path}?{token}")
            self.assertNotEqual(answer.content, one.attachment_id.raw)
            self.assertNotIn("A title", answer.text)
