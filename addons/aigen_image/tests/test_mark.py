import base64
import hashlib
import io
import struct
import zipfile
import zlib

from lxml import etree
from PIL import Image

from odoo.exceptions import AccessError
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools.safe_eval import safe_eval

from .common import AigenCase, payload, picture

UNMARKED = {"found": [], "valid": None, "marked": None}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def marked(content, mark=b"signed"):
    """Return the PNG with a chunk of XMP and one of a C2PA manifest. The pixels are the same."""
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0trainedAlgorithmicMedia"
    return content[:33] + chunk(b"caBX", mark) + chunk(b"iTXt", xmp) + content[33:]


def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def marked_payload(record, version, content, original, **provenance):
    """Return the result of a picture that the bridge marked."""
    provenance = UNMARKED | {"marked": "c2pa", "originalSha256": sha256(original)} | provenance
    return payload(record, version, content=content, provenance=provenance)


class MarkCase(AigenCase):
    def ready(self, provenance=None, **values):
        record = self.underway(**values)
        self.apply(payload(record, content=self.original, provenance=provenance))
        return record

    def setUp(self):
        super().setUp()
        self.original = picture(width=640, height=480)


@tagged("post_install", "-at_install")
class TestMark(MarkCase):
    """The marks of a picture, as the bridge reports them."""

    def test_the_badge_shows_who_marked_the_picture_and_whether_the_mark_is_valid(self):
        cases = [
            ({}, "unmarked"),
            ({"marked": "c2pa"}, "bridge_c2pa"),
            ({"marked": "metadata"}, "bridge_metadata"),
            ({"found": ["c2pa"], "valid": True}, "service_valid"),
            ({"found": ["c2pa"], "valid": False}, "service_invalid"),
            ({"found": ["c2pa", "digitalSourceType"]}, "service_unchecked"),
            ({"found": ["digitalSourceType"]}, "service_metadata"),
            ({"found": ["something of 2030"]}, "service_unchecked"),
            ({"found": ["c2pa"], "valid": False, "marked": "c2pa"}, "bridge_c2pa"),
        ]
        for provenance, mark in cases:
            self.assertEqual(self.ready(UNMARKED | provenance).mark, mark, provenance)

    def test_the_marks_that_a_picture_came_with_are_named(self):
        record = self.ready(UNMARKED | {"found": ["c2pa", "digitalSourceType", "<b>new</b>"]})
        self.assertEqual(record.marks_found, "Content credentials (C2PA), IPTC metadata, <b>new</b>")

    def test_a_picture_from_an_older_bridge_is_unexamined_and_a_request_without_a_picture_has_no_mark(self):
        self.assertEqual(self.ready().mark, "unexamined")
        self.assertFalse(self.underway().mark)

    def test_invalid_provenance_is_left_out_and_the_picture_is_kept(self):
        for wrong in (7, "c2pa", [], {}, {"found": None}, {"found": "c2pa", "marked": "c2pa"}):
            record = self.ready(wrong)
            self.assertEqual((record.status, record.mark, record.provenance), ("completed", "unexamined", False), wrong)
        odd = {"found": [7, {}, "c2pa\0", "\ud800", "x" * 9999] + ["y"] * 99, "valid": "yes", "marked": "glitter"}
        for original in (None, 7, "ABC", "A" * 64, "f" * 65):
            record = self.ready(odd | {"originalSha256": original})
            found = record.provenance["found"]
            self.assertEqual((found[:2], len(found[1]), len(found)), (["c2pa", "x" * 200], 200, 17))
            self.assertEqual((record.mark, record.original_sha256), ("service_unchecked", False))

    def test_people_can_read_the_mark_and_nobody_can_write_it(self):
        record = self.ready(UNMARKED | {"originalSha256": sha256(self.original)})
        self.assertEqual(record.with_user(self.ann).original_sha256, sha256(self.original))
        for user in (self.ann, self.mia):
            for values in ({"provenance": {}}, {"mark": "bridge_c2pa"}, {"original_sha256": "0" * 64}):
                with self.assertRaises(AccessError):
                    record.with_user(user).write(values)
        with self.assertRaises(AccessError):
            record.with_user(self.bob).read(["mark"])

    def test_pictures_can_be_filtered_by_mark(self):
        marked_one = self.ready(UNMARKED | {"marked": "metadata"})
        unmarked, unexamined, waiting = self.ready(UNMARKED), self.ready(), self.underway()
        search = self.env.ref("aigen_image.aigen_image_request_view_search")
        for name, record in (("marked", marked_one), ("unmarked", unmarked), ("unexamined", unexamined)):
            domain = safe_eval(etree.fromstring(search.arch).find(f".//filter[@name='{name}']").get("domain"))
            among = [("id", "in", (marked_one | unmarked | unexamined | waiting).ids)]
            self.assertEqual(self.env["aigen.image.request"].search([*among, *domain]), record, name)

    def test_a_mark_that_is_found_later_in_the_same_bytes_is_shown(self):
        record = self.ready()
        result = payload(record, 4, content=self.original, provenance=UNMARKED | {"found": ["digitalSourceType"]})
        self.assertTrue(self.apply(result)["applied"])
        self.assertEqual(record.mark, "service_metadata")


@tagged("post_install", "-at_install")
class TestMarkedLater(MarkCase):
    """The bridge marks a picture that Odoo already has."""

    def setUp(self):
        super().setUp()
        self.marked = marked(self.original)

    def test_the_bytes_are_replaced_and_the_attachment_stays_the_same(self):
        for provenance in (None, UNMARKED | {"originalSha256": sha256(self.original)}):
            record = self.ready(provenance)
            kept = record.attachment_id
            record.sudo().thumbnail = False
            answer = self.apply(marked_payload(record, 4, self.marked, self.original))
            self.env.invalidate_all()
            self.assertEqual((answer["applied"], answer["attachmentId"], answer["version"]), (True, kept.id, 4))
            self.assertEqual((record.attachment_id, kept.raw, kept.mimetype), (kept, self.marked, "image/png"))
            self.assertEqual((kept.file_size, kept.checksum), (len(self.marked), kept._compute_checksum(self.marked)))
            self.assertEqual((record.image_sha256, record.image_size), (sha256(self.marked), len(self.marked)))
            self.assertEqual((record.original_sha256, record.mark), (sha256(self.original), "bridge_c2pa"))
            self.assertTrue(record.thumbnail)

    def test_a_large_picture_is_not_scaled_down(self):
        self.original = picture(width=2400, height=40)  # Odoo would scale it down
        record, content = self.ready(), marked(self.original)
        self.apply(marked_payload(record, 4, content, self.original))
        self.assertEqual(record.attachment_id.raw, content)

    def test_nobody_is_notified_and_nothing_else_changes(self):
        self.ann.aigen_notify = "message"
        record = self.ready()
        notes, ended = len(record.message_ids), record.finished_at
        record.write({"rating": "4"})
        with self.assertBus(record) as sent:
            self.apply(marked_payload(record, 4, self.marked, self.original))
        self.assertEqual([(news["id"], news["silent"]) for news in sent], [(record.id, True)])
        self.assertEqual((len(record.message_ids), record.finished_at, record.status), (notes, ended, "completed"))
        self.assertEqual(record.rating, "4")

    def test_a_picture_can_be_marked_again(self):
        record = self.ready()
        for version, content in ((4, self.marked), (5, marked(self.original, b"with another certificate"))):
            self.assertTrue(self.apply(marked_payload(record, version, content, self.original))["applied"])
            self.assertEqual(record.attachment_id.raw, content)

    def test_copies_keep_their_bytes(self):
        record = self.ready()
        copy = record.attachment_id.copy({"res_model": False, "res_id": False})
        self.apply(marked_payload(record, 4, self.marked, self.original))
        self.env.invalidate_all()
        self.assertEqual(copy.raw, self.original)

    def test_another_original_an_older_version_and_a_lost_mark_change_nothing(self):
        record = self.ready()
        self.apply(marked_payload(record, 4, self.marked, self.original))
        other = picture("navy")
        results = [
            marked_payload(record, 4, marked(self.original, b"x"), self.original),
            marked_payload(record, 3, marked(self.original, b"x"), self.original),
            marked_payload(record, 9, marked(other), other),
            payload(record, 9, content=other),
            marked_payload(record, 9, other, self.marked),
            marked_payload(record, 9, self.original, self.original, marked=None),
        ]
        for result in results:
            self.assertFalse(self.apply(result)["applied"], result)
        self.env.invalidate_all()
        self.assertEqual((record.version, record.attachment_id.raw, record.mark), (4, self.marked, "bridge_c2pa"))

    def test_a_deleted_file_does_not_come_back(self):
        record = self.ready()
        record.attachment_id.unlink()
        self.env.invalidate_all()
        notes = len(record.message_ids)
        answer = self.apply(marked_payload(record, 4, self.marked, self.original))
        self.assertEqual((answer["applied"], answer["attachmentId"], answer["status"]), (False, False, "completed"))
        self.assertEqual((record.version, len(record.message_ids)), (3, notes))

    def test_a_refresh_still_fetches_a_deleted_file(self):
        record = self.ready()
        record.attachment_id.unlink()
        self.env.invalidate_all()
        resource = marked_payload(record, 4, self.marked, self.original)
        record.sudo()._apply_resource(resource, self.marked)
        self.assertEqual((record.attachment_id.raw, record.version, record.mark), (self.marked, 4, "bridge_c2pa"))

    def test_a_request_that_is_under_way_again_ends_with_the_marked_picture(self):
        record = self.ready()
        record.sudo().status = "queued"
        self.apply(marked_payload(record, 4, self.marked, self.original))
        self.assertEqual((record.status, record.attachment_id.raw), ("completed", self.marked))

    def test_a_refresh_before_the_marked_bytes_arrive_does_not_block_them(self):
        record = self.ready()
        resource = marked_payload(record, 4, self.marked, self.original)
        for content in (b"", self.marked):
            record.sudo()._apply_resource(resource, content)
            self.assertEqual((record.version, record.mark), (3, "unexamined"))
        self.assertTrue(self.apply(resource)["applied"])
        self.assertEqual((record.attachment_id.raw, record.mark), (self.marked, "bridge_c2pa"))

    def test_the_approval_and_the_place_on_a_board_stay(self):
        record = self.ready()
        record.sudo().approval = "approved"
        board = self.env["aigen.image.board"].with_user(self.ann).create({"name": "Autumn"})
        self.env["aigen.image.board.item"].sudo().create({"board_id": board.id, "request_id": record.id})
        self.apply(marked_payload(record, 4, self.marked, self.original))
        self.assertEqual((record.approval, record.board_ids), ("approved", board))

    def test_files_stored_in_the_database_are_replaced_too(self):
        self.env["ir.config_parameter"].set_param("ir_attachment.location", "db")
        record = self.ready()
        self.apply(marked_payload(record, 4, self.marked, self.original))
        self.env.invalidate_all()
        self.assertEqual(record.attachment_id.raw, self.marked)


@tagged("post_install", "-at_install")
class TestMarkHttp(HttpCase):
    """Downloads are the stored bytes, mark included. Copies that Odoo scales down have no mark."""

    def setUp(self):
        super().setUp()
        self.ann = new_test_user(self.env, "aigen_ann", groups="base.group_user,aigen_image.group_user")
        model = self.env["aigen.image.model"].create({"name": "Photo"})
        requests = self.env["aigen.image.request"]
        self.record = requests.with_user(self.ann).create({"prompt": "A boat", "model_id": model.id})
        self.original = picture(width=2400, height=1200)
        self.marked = marked(self.original)
        for version, content in ((3, self.original), (4, self.marked)):
            result = marked_payload(self.record, version, content, self.original)
            requests.with_user(self.env.ref("aigen_image.user_bridge")).bridge_apply_result(result)
        self.authenticate("aigen_ann", "aigen_ann")

    def test_every_download_keeps_the_mark(self):
        file = self.record.attachment_id.id
        for path in (f"/web/content/{file}?download=true", f"/web/image/{file}", f"/web/image/{file}?unique=12345678"):
            self.assertEqual(sha256(self.url_open(path).content), sha256(self.marked), path)
        answer = self.url_open(f"/aigen/pictures.zip?ids={self.record.id}")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            self.assertEqual(sha256(archive.read("a-boat.png")), sha256(self.marked))

    def test_a_smaller_copy_has_no_mark(self):
        small = self.url_open(f"/web/image/{self.record.attachment_id.id}/512x512").content
        self.assertEqual(Image.open(io.BytesIO(small)).width, 512)
        for content in (small, self.url_open(f"/web/image/aigen.image.request/{self.record.id}/thumbnail").content):
            self.assertNotIn(b"caBX", content)
            self.assertNotIn(b"trainedAlgorithmicMedia", content)

    def test_an_e_mail_carries_the_file_unchanged(self):
        mail = self.env["mail.mail"].create({"email_to": "a@example.com", "body_html": "<p>Look</p>"})
        mail.attachment_ids = self.record.sudo().attachment_id
        [[_name, content, _type]] = mail._prepare_outgoing_list()[0]["attachments"]
        self.assertEqual(content, self.marked)

    def test_a_large_file_that_is_uploaded_again_loses_the_mark(self):
        attachment = self.env["ir.attachment"].create({"name": "a.png", "raw": self.marked})
        self.assertNotIn(b"caBX", attachment.raw)

    def test_the_image_of_a_record_keeps_the_mark_unless_it_is_scaled_down(self):
        partner = self.env["res.partner"].create({"name": "Somebody"})
        for width, height, is_kept in ((1920, 1080, True), (1921, 100, False)):
            content = marked(picture(width=width, height=height))
            partner.image_1920 = base64.b64encode(content)
            self.env.flush_all()
            files = self.env["ir.attachment"].search(
                [("res_model", "=", "res.partner"), ("res_id", "=", partner.id), ("res_field", "!=", False)]
            )
            sizes = {file.res_field: b"caBX" in file.raw for file in files}
            self.assertEqual(sizes.pop("image_1920"), is_kept)
            self.assertEqual(len(sizes), 4)
            self.assertFalse(any(sizes.values()))
