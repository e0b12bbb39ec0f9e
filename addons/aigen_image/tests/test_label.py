import io
import zipfile

from PIL import Image, ImageChops, ImageOps

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import HttpCase, TransactionCase, new_test_user, tagged
from odoo.tools import file_path, mute_logger

from ..bridge.label import CORNERS, add_label, missing_characters
from ..controllers import pictures
from ..models import aigen_image_label
from ..models.aigen_image_label import FONT
from .common import AigenCase, payload, picture
from .test_mark import marked

TERM = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SLOPE = Image.linear_gradient("L").resize((400, 300))


def encoded(image, name="PNG", **options):
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def opened(content):
    return Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP"))


def labelled(content, text="AI-generated", corner="bottom_right", percent=5):
    return add_label(content, text, font=file_path(FONT), corner=corner, percent=percent)


@tagged("post_install", "-at_install")
class TestAddLabel(TransactionCase):
    """Drawing a label, in every format and color mode."""

    def test_only_the_corner_changes_in_each_kind_of_picture(self):
        color = Image.merge("RGB", (SLOPE, SLOPE, SLOPE.rotate(180)))
        palette = color.quantize(16)
        deep = SLOPE.convert("I").point(lambda value: value * 257)
        kinds = {
            "RGB": encoded(color),
            "L": encoded(SLOPE),
            "LA": encoded(Image.merge("LA", (SLOPE, SLOPE))),
            "RGBA": encoded(Image.new("RGBA", SLOPE.size, (0, 0, 0, 0))),
            "P": encoded(palette),
            "P, one color transparent": encoded(palette, transparency=3),
            "1": encoded(SLOPE.convert("1")),
            "16 bits": encoded(deep),
            "JPEG": encoded(color, "JPEG", progressive=True),
            "JPEG, gray": encoded(SLOPE, "JPEG"),
            "JPEG, CMYK": encoded(color.convert("CMYK"), "JPEG"),
            "WebP": encoded(color, "WEBP"),
            "WebP, lossless": encoded(Image.merge("RGBA", (SLOPE,) * 4), "WEBP", lossless=True),
        }
        for kind, content in kinds.items():
            copy, before = opened(labelled(content)), opened(content)
            self.assertEqual((copy.format, copy.size), (before.format, before.size), kind)
            before = SLOPE if kind == "16 bits" else before
            changes = ImageChops.difference(copy.convert("RGBA"), before.convert("RGBA"))
            boxes = [channel.point(lambda value: 255 * (value > 24)).getbbox() for channel in changes.split()]
            self.assertTrue(any(boxes), kind)
            for left, top, _right, _bottom in filter(None, boxes):
                self.assertTrue(left >= 200 and top >= 250, (kind, left, top))

    def test_the_label_is_upright_in_each_corner(self):
        turned = Image.Exif()
        turned[0x112] = 6  # the camera was held upright
        content = encoded(Image.new("RGB", (400, 300), "white"), "JPEG", exif=turned)
        for corner, (right, bottom) in CORNERS.items():
            copy = opened(labelled(content, corner=corner))
            self.assertEqual((copy.size, copy.getexif().get(0x112)), ((300, 400), None))
            box = ImageOps.invert(copy.convert("L")).point(lambda value: 255 * (value > 24)).getbbox()
            self.assertEqual((box[0] > 100, box[1] > 200), (bool(right), bool(bottom)), corner)

    def test_the_orientation_is_read_from_damaged_exif_too(self):
        orientation = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
        words_for_a_number = b"\x1a\x01\x02\0\x04\0\0\0abc\0"
        exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + orientation + words_for_a_number + b"\0\0\0\0"
        for name in ("PNG", "JPEG", "WEBP"):
            content = encoded(Image.new("RGB", (400, 300)), name, exif=exif)
            self.assertEqual(opened(labelled(content)).size, (300, 400), name)

    def test_the_copy_has_no_metadata_but_the_mark_and_the_color_profile(self):
        for name in ("PNG", "JPEG", "WEBP"):
            dropped = {"exif": b"Exif\0\0damaged, and secret", "comment": b"secret"}
            content = encoded(SLOPE.convert("RGB"), name, icc_profile=b"profile", **dropped)
            copy = labelled(marked(content) if name == "PNG" else content)
            self.assertEqual(copy.count(TERM), 1)
            self.assertEqual(opened(copy).info["icc_profile"], b"profile")
            for gone in (b"secret", b"caBX"):
                self.assertNotIn(gone, copy)

    def test_small_pictures_and_long_texts_do_not_fail(self):
        for size in ((1, 1), (3, 2000), (2000, 3), (64, 48)):
            self.assertEqual(opened(labelled(encoded(Image.new("RGB", size)), "W" * 60)).size, size)

    def test_damaged_huge_and_other_files_get_no_label(self):
        content = picture(width=600, height=600)
        huge = encoded(Image.new("1", (20_000, 20_000)))
        for wrong in (b"", b"no picture", content[:20], b"GIF89a" + content, huge):
            self.assertIsNone(labelled(wrong))

    def test_characters_that_the_font_lacks_are_found(self):
        self.assertEqual(missing_characters("KI-generiert, ИИ: 中文中 é", file_path(FONT)), "中文")


class Labelled:
    """Mixin for test cases with labels switched on."""

    def setUp(self):
        super().setUp()
        self.switch_on()

    def switch_on(self, **values):
        for name, value in ({"label": "True"} | values).items():
            self.env["ir.config_parameter"].set_param(f"aigen_image.{name}", value)


@tagged("post_install", "-at_install")
class TestLabel(Labelled, AigenCase):
    """Labels as the settings ask for them."""

    def ready(self):
        record = self.underway()
        self.apply(payload(record, content=picture(width=400, height=300)))
        return record

    def test_labels_are_off_by_default(self):
        self.env["ir.config_parameter"].set_param("aigen_image.label", False)
        self.assertEqual(self.env["aigen.image.request"]._label(), {})
        self.assertFalse(self.env["res.config.settings"].create({}).aigen_label)

    def test_the_text_is_the_configured_one_or_in_the_language_of_the_person(self):
        words = {"en_US": "AI-generated", "de_DE": "KI-generiert", "es_ES": "Generado con IA"}
        for lang, text in words.items():
            self.env["res.lang"]._activate_lang(lang)
            self.assertEqual(self.env["aigen.image.request"].with_context(lang=lang)._label()["text"], text)
        self.switch_on(label_text="Made with AI")
        self.assertEqual(self.env["aigen.image.request"]._label()["text"], "Made with AI")

    def test_invalid_parameters_are_replaced(self):
        self.switch_on(label_corner="middle", label_percent="a lot")
        label = self.env["aigen.image.request"]._label()
        self.assertEqual((label["corner"], label["percent"]), ("bottom_right", 4))
        self.switch_on(label_percent="9999")
        self.assertEqual(self.env["aigen.image.request"]._label()["percent"], 15)

    def test_the_settings_refuse_an_invalid_label(self):
        settings = self.env["res.config.settings"]
        settings.create({"aigen_label": True, "aigen_label_text": " Made\n with  AI "}).execute()
        self.assertEqual(self.env["aigen.image.request"]._label()["text"], "Made with AI")
        wrong = [
            ({"aigen_label_text": "AI 生成"}, "生成"),
            ({"aigen_label_text": "x" * 61}, "60 characters"),
            ({"aigen_label_percent": 90}, "from 2 to 15"),
        ]
        for values, words in wrong:
            with self.assertRaisesRegex(ValidationError, words):
                settings.create(values).execute()

    def test_an_invalid_label_does_not_block_the_settings_while_labels_are_off(self):
        self.switch_on(label=False, label_percent="a lot")
        with mute_logger("odoo.addons.base.models.res_config"):
            self.env["res.config.settings"].create({}).execute()
        self.assertEqual(self.env["aigen.image.request"]._label(), {})

    def test_the_picture_itself_does_not_change(self):
        record = self.ready()
        before = record.attachment_id.raw
        self.assertNotEqual(record._labelled(), before)
        self.env.invalidate_all()
        self.assertEqual(record.attachment_id.raw, before)

    def test_one_copy_is_downloaded_as_a_file_and_several_as_a_zip(self):
        one, two = self.ready(), self.ready()
        self.assertEqual(one.action_download_labelled()["url"], f"/aigen/labelled/{one.id}")
        both = (one + two).action_download_labelled()["url"]
        self.assertEqual(both, f"/aigen/pictures.zip?ids={one.id}%2C{two.id}&labelled=1")
        with self.assertRaises(AccessError):
            one.with_user(self.bob).action_download_labelled()
        self.patch(aigen_image_label, "MOST_LABELLED", 1)
        with self.assertRaisesRegex(UserError, "at most 1 pictures"):
            (one + two).action_download_labelled()


@tagged("post_install", "-at_install")
class TestLabelHttp(Labelled, HttpCase):
    def setUp(self):
        super().setUp()
        for name in ("ann", "bob"):
            new_test_user(self.env, f"aigen_{name}", groups="base.group_user,aigen_image.group_user")
        self.model = self.env["aigen.image.model"].create({"name": "Photo"})
        self.boat = self.ready("A red boat", picture("red", 640, 480), found=["c2pa"], valid=True)
        self.authenticate("aigen_ann", "aigen_ann")

    def ready(self, prompt, content, **known):
        ann = self.env["res.users"].search([("login", "=", "aigen_ann")])
        requests = self.env["aigen.image.request"]
        record = requests.with_user(ann).create({"prompt": prompt, "model_id": self.model.id})
        provenance = {"found": [], "valid": None, "marked": None} | known
        result = payload(record, content=content, provenance=provenance)
        requests.with_user(self.env.ref("aigen_image.user_bridge")).bridge_apply_result(result)
        return record

    def test_only_people_who_may_see_the_picture_can_download_a_labelled_copy(self):
        path = f"/aigen/labelled/{self.boat.id}"
        answer = self.url_open(path)
        self.assertEqual((answer.status_code, answer.headers["Content-Type"]), (200, "image/png"))
        self.assertIn("attachment", answer.headers["Content-Disposition"])
        self.assertIn("no-store", answer.headers["Cache-Control"])
        self.assertEqual(answer.content, self.boat._labelled())
        self.authenticate("aigen_bob", "aigen_bob")
        self.assertEqual(self.url_open(path).status_code, 404)

    def test_several_copies_are_downloaded_as_a_zip(self):
        other = self.ready("A blue boat", picture("blue", 640, 480))
        answer = self.url_open(f"/aigen/pictures.zip?ids={self.boat.id},{other.id}&labelled=1")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        self.assertEqual(found, {"a-red-boat.png": self.boat._labelled(), "a-blue-boat.png": other._labelled()})
        self.patch(pictures, "MOST_LABELLED", 1)
        for labelled, status in (("", 200), ("1", 413)):
            path = f"/aigen/pictures.zip?ids={self.boat.id},{other.id}&labelled={labelled}"
            self.assertEqual(self.url_open(path).status_code, status)

    def test_a_damaged_file_is_reported(self):
        self.boat.sudo().attachment_id.with_context(image_no_postprocess=True).raw = picture()[:20]
        answer = self.url_open(f"/aigen/labelled/{self.boat.id}")
        self.assertEqual(answer.status_code, 422)
        self.assertIn("damaged", answer.text)

    @mute_logger("odoo.http")
    def test_there_are_no_labelled_copies_while_labels_are_off(self):
        self.switch_on(label=False)
        for path in (f"/aigen/labelled/{self.boat.id}", f"/aigen/pictures.zip?ids={self.boat.id}&labelled=1"):
            self.assertEqual(self.url_open(path).status_code, 404)

    def test_a_person_sees_the_mark_and_finds_the_labelled_copy(self):
        self.ready("A grey boat", picture("grey", 640, 480))
        self.start_tour("/odoo/ai-images", "aigen_mark_tour", login="aigen_ann")
