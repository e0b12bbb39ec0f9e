import base64
import hashlib
import io
import tracemalloc
import zipfile
from datetime import UTC, datetime

from PIL import Image

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, TransactionCase, new_test_user, tagged

from ..bridge.thumbnail import make_thumbnail
from ..bridge.zip_stream import Entry, stream_zip
from ..models import aigen_image_download
from .common import AigenCase, payload, picture


def made_of(**settings):
    """The bytes of an image, and what it is after they were shrunk."""
    return Image.open(io.BytesIO(make_thumbnail(picture(**settings))))


@tagged("post_install", "-at_install")
class TestThumbnail(TransactionCase):
    def test_it_is_small_and_has_the_shape_of_the_picture(self):
        image = made_of(width=1344, height=768)
        self.assertEqual((image.format, image.size), ("JPEG", (512, 293)))
        self.assertEqual(made_of(width=64, height=48, name="JPEG").size, (64, 48))

    def test_what_shines_through_still_does(self):
        file = io.BytesIO()
        Image.new("RGBA", (600, 600), (255, 0, 0, 100)).save(file, "PNG")
        self.assertEqual(Image.open(io.BytesIO(make_thumbnail(file.getvalue()))).mode, "RGBA")
        file = io.BytesIO()
        Image.new("RGBA", (600, 600), (255, 0, 0, 255)).save(file, "PNG")
        self.assertEqual(Image.open(io.BytesIO(make_thumbnail(file.getvalue()))).format, "JPEG")

    def test_damaged_and_enormous_pictures_have_none(self):
        content = picture(width=600, height=600)
        for wrong in (b"", b"no picture", content[:20], b"GIF89a" + content):
            self.assertIsNone(make_thumbnail(wrong))
        huge = io.BytesIO()
        Image.new("1", (20_000, 20_000)).save(huge, "PNG")
        self.assertIsNone(make_thumbnail(huge.getvalue()))


class GalleryCase(AigenCase):
    def ready(self, user=None, content=None, **values):
        """A picture that has arrived."""
        record = self.draft(user, **values)
        record.sudo().write({"status": "queued", "requested_at": fields.Datetime.now()})
        self.apply(payload(record, content=content or picture()))
        return record

    def shared(self, record, user):
        """The picture as somebody sees it on a board that is shared."""
        board = self.env["aigen.image.board"].with_user(record.user_id)
        board = board.create({"name": "Shared", "visibility": "shared", "user_ids": [(6, 0, user.ids)]})
        items = self.env["aigen.image.board.item"].with_user(record.user_id)
        items.create({"board_id": board.id, "request_id": record.id})
        self.env.flush_all()
        return record.with_user(user)


@tagged("post_install", "-at_install")
class TestGallery(GalleryCase):
    def test_a_picture_that_arrives_has_a_small_copy(self):
        record = self.ready(content=picture(width=1344, height=768))
        with Image.open(io.BytesIO(base64.b64decode(record.thumbnail))) as image:
            self.assertEqual(image.size, (512, 293))

    def test_a_picture_of_which_no_small_copy_can_be_made_is_kept(self):
        content = b"\x89PNG\r\n\x1a\n" + b"damaged"
        record = self.draft()
        record.sudo().status = "queued"
        described = payload(record)["image"] | {"data": base64.b64encode(content).decode(), "size": len(content)}
        described["sha256"] = hashlib.sha256(content).hexdigest()
        self.apply(payload(record) | {"image": described})
        self.assertEqual((record.status, record.attachment_id.raw, record.thumbnail), ("completed", content, False))

    def test_older_pictures_get_theirs_from_the_cron(self):
        record, damaged = self.ready(), self.ready()
        (record + damaged).sudo().thumbnail = False
        damaged.attachment_id.sudo().raw = b"damaged"
        self.env["aigen.image.request"]._cron_thumbnails()
        self.commit()
        self.assertTrue(record.thumbnail)
        self.assertFalse(damaged.thumbnail)

    def test_a_small_copy_is_written_by_nobody(self):
        with self.assertRaises(AccessError):
            self.ready().thumbnail = base64.b64encode(picture())

    def test_a_favourite_is_of_one_person_and_needs_no_right_to_write(self):
        record = self.ready()
        seen = self.shared(record, self.bob)
        seen.toggle_favorite()
        self.assertEqual((seen.is_favorite, record.is_favorite), (True, False))
        found = self.env["aigen.image.request"].with_user(self.bob).search([("is_favorite", "=", True)])
        self.assertEqual(found, record)
        self.assertFalse(self.env["aigen.image.request"].with_user(self.ann).search([("is_favorite", "=", True)]))
        seen.toggle_favorite()
        self.assertFalse(seen.is_favorite)
        with self.assertRaises(AccessError):
            self.ready(self.ann).with_user(self.bob).toggle_favorite()

    def test_several_become_favourites_together(self):
        records = self.ready() + self.ready()
        records[0].toggle_favorite()
        records.toggle_favorite()
        self.assertEqual(records.mapped("is_favorite"), [True, True])
        records.toggle_favorite()
        self.assertEqual(records.mapped("is_favorite"), [False, False])

    def test_only_the_owner_and_managers_may_change_a_picture(self):
        record = self.ready()
        seen = self.shared(record, self.bob)
        may_write = [record.with_user(user).may_write for user in (self.ann, self.bob, self.mia)]
        self.assertEqual(may_write, [True, False, True])
        for values in ({"rating": "5"}, {"tag_ids": [(5,)]}):
            with self.assertRaises(AccessError):
                seen.write(values)
        with self.assertRaises(AccessError):
            seen.action_tag()

    def test_several_are_tagged_together(self):
        records = self.ready() + self.ready()
        tags = (
            self.env["aigen.image.tag"]
            .with_user(self.ann)
            .create([{"name": "<b>Of the test</b>"}, {"name": "Of the test"}])
        )
        wizards = self.env["aigen.image.tagging"].with_user(self.ann)
        wizard = wizards.with_context(**records.action_tag()["context"]).create({"tag_ids": tags.ids})
        wizard.action_add()
        self.assertEqual(records.tag_ids, tags)
        wizard.tag_ids = tags[0]
        wizard.action_remove()
        self.assertEqual(records.mapped("tag_ids"), tags[1])

    def test_tags_of_others_pictures_stay(self):
        seen = self.shared(self.ready(), self.bob)
        tag = self.env["aigen.image.tag"].create({"name": "Of the test"})
        wizards = self.env["aigen.image.tagging"].with_user(self.bob)
        wizard = wizards.create({"request_ids": seen.ids, "tag_ids": tag.ids})
        with self.assertRaises(AccessError):
            wizard.action_add()

    def test_before_they_are_deleted_it_is_said_what_is_lost(self):
        record, draft = self.ready(), self.draft()
        self.assertEqual(record.describe_deletion(), "This picture is deleted for good, with its file.")
        self.shared(record, self.bob)
        self.assertIn("It is on a board.", record.describe_deletion())
        self.assertEqual(
            (record + draft).describe_deletion(),
            "2 pictures are deleted for good. Files that go with them: 1. 1 is on a board.",
        )
        with self.assertRaises(AccessError):
            draft.with_user(self.bob).describe_deletion()

    def test_the_search_panel_knows_states_models_tags_and_boards(self):
        record = self.ready(rating="4")
        record.tag_ids = self.env["aigen.image.tag"].create({"name": "Of the test"})
        self.shared(record, self.bob)
        requests = self.env["aigen.image.request"].with_user(self.ann)
        for name, words in (
            ("status", "Ready"),
            ("model_id", "Photo"),
            ("tag_ids", "Of the test"),
            ("board_ids", "Shared"),
        ):
            how = {"expand": True} if name == "board_ids" else {"enable_counters": True}
            panel = requests.search_panel_select_multi_range(name, **how)
            self.assertIn(words, [value["display_name"] for value in panel["values"]])
        board = record.board_ids
        self.assertEqual(requests.search([("board_ids", "in", board.ids)]), record)

    def test_eighty_cards_cost_no_query_for_each(self):
        records = self.env["aigen.image.request"].with_user(self.ann)
        names = ["name", "status", "attachment_id", "image_sha256", "thumbnail", "may_write", "is_favorite", "rating",
                 "tag_ids", "explanation", "elapsed", "expected", "progress", "user_id", "active"]  # fmt: skip
        specification = {name: {} for name in names}
        few = [self.ready() for _one in range(3)]
        queries = []
        for _round in range(2):
            self.env.flush_all()
            self.env.invalidate_all()
            start = self.env.cr.sql_log_count
            records.with_context(bin_size=True).web_search_read(
                [("user_id", "=", self.ann.id)], specification, limit=80
            )
            queries.append(self.env.cr.sql_log_count - start)
            few += [self.ready() for _one in range(9)]
        self.assertLessEqual(queries[1], queries[0])
        self.assertLessEqual(queries[1], 20)


@tagged("post_install", "-at_install")
class TestZip(GalleryCase):
    def names(self, records):
        return [name for name, _at, _file in records._zip_files()]

    def test_files_have_names_from_the_prompt_and_each_only_once(self):
        records = self.ready(prompt="../../A <b>lighthouse</b>!") + self.ready(prompt="../../A <b>lighthouse</b>!")
        records += self.ready(prompt="Ein Hügel, 日本")
        records += self.ready(prompt="???", content=picture(name="JPEG"))
        self.assertEqual(
            self.names(records),
            ["a-b-lighthouse-b.png", "a-b-lighthouse-b-2.png", "ein-hügel-日本.png", "picture.jpg"],
        )

    def test_several_are_downloaded_as_one_file_and_one_as_itself(self):
        records = self.ready() + self.ready() + self.draft()
        self.assertEqual(records.action_download()["url"], f"/aigen/pictures.zip?ids={records[0].id}%2C{records[1].id}")
        self.assertIn("/web/content/", records[0].action_download()["url"])
        with self.assertRaisesRegex(UserError, "None of these"):
            (self.draft() + self.draft()).action_download()
        with self.assertRaises(AccessError):
            records.with_user(self.bob).action_download()

    def test_what_is_too_much_for_one_file_is_said(self):
        records = self.ready() + self.ready() + self.ready()
        self.patch(aigen_image_download, "MOST_PICTURES", 2)
        with self.assertRaisesRegex(UserError, "at most 2 pictures. These are 3"):
            records.action_download()
        records[:2].sudo().image_size = 2**30
        with self.assertRaisesRegex(UserError, "more than 1 GB"):
            records[:2].action_download()

    def test_a_large_one_is_never_in_memory_as_a_whole(self):
        def read():
            for _chunk in range(40):
                yield bytes(256 * 1024)

        entries = [Entry(f"{number}.png", datetime(2026, 1, 31, tzinfo=UTC), read) for number in range(5)]
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        size = sum(map(len, stream_zip(entries)))
        self.assertGreater(size, 50 * 2**20)
        self.assertLess(tracemalloc.get_traced_memory()[1], 3 * 2**20)


@tagged("post_install", "-at_install")
class TestZipHttp(HttpCase):
    def setUp(self):
        super().setUp()
        self.model = self.env["aigen.image.model"].create({"name": "Photo"})
        for name in ("ann", "bob"):
            user = new_test_user(self.env, f"aigen_{name}", groups="base.group_user,aigen_image.group_user")
            setattr(self, name, user)

    def ready(self, user, prompt, content):
        requests = self.env["aigen.image.request"]
        record = requests.with_user(user).create({"prompt": prompt, "model_id": self.model.id})
        robot = self.env.ref("aigen_image.user_bridge")
        requests.with_user(robot).bridge_apply_result(payload(record, content=content))
        return record

    def fetch(self, records, **how):
        ids = ",".join(map(str, records.ids))
        return self.url_open(f"/aigen/pictures.zip?ids={ids}", **how)

    def test_the_zip_has_the_pictures_that_the_person_may_see(self):
        contents = [picture("teal"), picture("red", name="JPEG")]
        mine = self.ready(self.ann, "A lighthouse", contents[0]) + self.ready(self.ann, "A lighthouse", contents[1])
        theirs = self.ready(self.bob, "A secret", picture())
        self.authenticate("aigen_ann", "aigen_ann")
        answer = self.fetch(mine + theirs)
        self.assertEqual((answer.status_code, answer.headers["Content-Type"]), (200, "application/zip"))
        self.assertIn("pictures-", answer.headers["Content-Disposition"])
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            self.assertIsNone(archive.testzip())
            found = {name: archive.read(name) for name in archive.namelist()}
        self.assertEqual(found, {"a-lighthouse.jpg": contents[1], "a-lighthouse.png": contents[0]})
        self.assertEqual(self.fetch(theirs).status_code, 404)

    def test_a_file_that_is_lost_is_left_out(self):
        lost = self.ready(self.ann, "Lost", picture("red"))
        kept = self.ready(self.ann, "Kept", picture("teal"))
        self.env.flush_all()
        self.env.cr.execute("UPDATE ir_attachment SET store_fname = '00/gone' WHERE id = %s", [lost.attachment_id.id])
        self.env.invalidate_all()
        self.authenticate("aigen_ann", "aigen_ann")
        with zipfile.ZipFile(io.BytesIO(self.fetch(lost + kept).content)) as archive:
            self.assertEqual(archive.namelist(), ["kept.png"])

    def test_a_small_copy_is_served_to_whom_the_picture_belongs(self):
        record = self.ready(self.ann, "A lighthouse", picture(width=1344, height=768))
        path = f"/web/image/aigen.image.request/{record.id}/thumbnail?unique=12345678"
        self.authenticate("aigen_ann", "aigen_ann")
        answer = self.url_open(path)
        self.assertEqual(answer.headers["Content-Type"], "image/jpeg")
        self.assertIn("immutable", answer.headers["Cache-Control"])
        self.assertEqual(answer.content, base64.b64decode(record.with_context(bin_size=False).thumbnail))
        self.authenticate("aigen_bob", "aigen_bob")
        self.assertNotEqual(self.url_open(path).content, answer.content)

    def test_a_person_compares_tags_and_downloads_two_pictures(self):
        records = self.ready(self.ann, "Red boat", picture("red")) + self.ready(self.ann, "Blue boat", picture("blue"))
        urls, original = [], aigen_image_download.AigenImageRequest.action_download

        def action_download(requests):
            action = original(requests)
            urls.append(action["url"])
            return action

        self.patch(aigen_image_download.AigenImageRequest, "action_download", action_download)
        self.start_tour("/odoo/ai-images", "aigen_gallery_tour", login="aigen_ann")
        self.env.invalidate_all()
        (url,) = urls
        with zipfile.ZipFile(io.BytesIO(self.url_open(url).content)) as archive:
            self.assertEqual(sorted(archive.namelist()), ["blue-boat.png", "red-boat.png"])
        self.assertEqual(sum(records.with_user(self.ann).mapped("is_favorite")), 1)
        self.assertEqual(records.tag_ids.mapped("name"), ["Harbour"])
        self.assertEqual(records.mapped("active"), [False, False])

    def test_nonsense_and_strangers_get_nothing(self):
        record = self.ready(self.ann, "A lighthouse", picture())
        self.assertNotIn("zip", self.fetch(record).headers["Content-Type"])  # the page to log in
        new_test_user(self.env, "aigen_stranger", groups="base.group_user")
        self.authenticate("aigen_stranger", "aigen_stranger")
        self.assertIn(self.fetch(record).status_code, (403, 404))
        self.authenticate("aigen_ann", "aigen_ann")
        for ids in ("", "x", "-1", "1;2", "9" * 30, "٣"):
            self.assertEqual(self.url_open(f"/aigen/pictures.zip?ids={ids}").status_code, 404, ids)
