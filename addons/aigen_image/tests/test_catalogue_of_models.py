from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..bridge import client
from .common import AigenCase

FLUX = "5f0c8a52-3c59-4a0e-9a55-2f8b1c6d7e01"
INK = "9b1d4f07-6e2a-4d3c-8f61-70a9c2e5b302"


def entry(uuid=FLUX, **changes):
    """A model as the bridge lists it."""
    usual = {
        "modelId": uuid,
        "name": "Flux",
        "description": "Natural light",
        "provider": {"kind": "fal", "endpoint": "https://fal.run/fal-ai/flux-lora"},
        "supports": {"negativePrompt": False, "seed": True},
        "steps": {"min": 1, "max": 50, "default": 28},
        "cfgScale": {"min": 0, "max": 20, "default": 3.5},
        "resolutions": ["1024x1024", "1344x768", "1408x768", "700x300"],
        "price": {"amount": "0.035", "currency": "USD", "per": "megapixel"},
        "active": True,
        "updatedAt": "2026-01-31T12:00:00Z",
    }
    return usual | changes


@tagged("post_install", "-at_install")
class TestCatalogueOfModels(AigenCase):
    def setUp(self):
        super().setUp()
        self.env["aigen.image.model"].search([("id", "!=", self.model.id)]).active = False
        self.toasts_shown = self.messages()

    def messages(self):
        shown = []

        def keep(_self, user, message, kind="info"):
            shown.append((user, message, kind))

        self.patch(self.registry["aigen.image.model"], "_tell_person", keep)
        return shown

    def offer(self, *items, etag='"1"'):
        self.bridge.say("GET", client.MODELS, 200, {"items": list(items)}, ETag=etag)

    def synchronize(self, *items):
        """Press the button while the bridge has these models. Returns what the person is told."""
        self.offer(*items)
        self.env["aigen.image.model"].with_user(self.mia).action_synchronize()
        self.commit()
        return self.toasts_shown[-1][1]

    def by_uuid(self, uuid):
        return self.env["aigen.image.model"].with_context(active_test=False).search([("uuid", "=", uuid)])

    def test_a_new_model_appears_with_what_it_offers(self):
        words = self.synchronize(entry())
        model = self.by_uuid(FLUX)
        self.assertIn("1 new, 0 changed, 1 archived", words)
        self.assertEqual((model.name, model.description, model.steps, model.cfg), ("Flux", "Natural light", 28, 3.5))
        self.assertEqual((model.takes_negative_prompt, model.takes_seed), (False, True))
        self.assertEqual((model.steps_offered, model.cfg_offered), ("1 to 50", "0 to 20"))
        self.assertEqual(model.price, "0.035 USD for a megapixel")
        self.assertTrue(model.active and model.in_catalogue)

    def test_new_requests_follow_when_the_model_offers_other_sizes(self):
        new, asked = self.draft(shape="4:3"), self.underway(shape="4:3")
        self.synchronize(entry(self.model.uuid, resolutions=["1024x768"]))
        self.assertEqual((new.resolution, asked.resolution), ("1024x768", "1152x864"))
        self.model.offer = self.model.offer | {"resolutions": ["1280x960"]}  # since it was refused, for instance
        new.action_generate()
        self.commit()
        self.assertEqual(self.bridge.sent()[-1]["resolution"], "1280x960")

    def test_a_model_of_before_is_found_by_its_uuid_and_keeps_its_name(self):
        words = self.synchronize(entry(self.model.uuid.upper()))
        self.assertIn("0 new, 1 changed, 0 archived", words)
        self.assertEqual((self.model.name, self.model.description), ("Photo", "Natural light"))
        self.assertTrue(self.model.in_catalogue)

    def test_names_and_pictures_that_were_edited_here_stay_and_others_follow_the_bridge(self):
        self.synchronize(entry(), entry(INK, name="Ink"))
        flux, ink = self.by_uuid(FLUX), self.by_uuid(INK)
        flux.write({"name": "For our posts", "preview": self.gif()})
        self.synchronize(entry(name="Flux 2", description="Harder light"), entry(INK, name="Ink 2"))
        self.assertEqual((flux.name, flux.description, ink.name), ("For our posts", "Harder light", "Ink 2"))
        self.assertTrue(flux.preview)

    def gif(self):
        return b"R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="

    def test_a_translation_stays_when_the_bridges_name_changes(self):
        self.env["res.lang"]._activate_lang("de_DE")
        self.synchronize(entry())
        flux = self.by_uuid(FLUX)
        flux.with_context(lang="de_DE").name = "Für Beiträge"
        self.synchronize(entry(name="Flux 2"))
        self.assertEqual(flux.with_context(lang="en_US").name, "Flux 2")
        self.assertEqual(flux.with_context(lang="de_DE").name, "Für Beiträge")

    def test_a_model_that_is_gone_or_inactive_is_archived_and_comes_back(self):
        self.synchronize(entry(), entry(INK))
        flux, ink = self.by_uuid(FLUX), self.by_uuid(INK)
        self.synchronize(entry(active=False))
        self.assertEqual((flux.active, ink.active), (False, False))
        self.synchronize(entry(), entry(INK))
        self.assertEqual((flux.active, ink.active, flux.is_withdrawn), (True, True, False))

    def test_what_a_person_archived_stays_archived(self):
        self.synchronize(entry(), entry(INK))
        flux = self.by_uuid(FLUX)
        flux.active = False
        self.synchronize(entry(INK))
        self.synchronize(entry(), entry(INK))
        self.assertFalse(flux.active)

    def test_an_empty_catalogue_changes_nothing(self):
        self.synchronize(entry())
        words = self.synchronize()
        self.assertIn("no catalogue", words)
        self.assertTrue(self.by_uuid(FLUX).active)

    @mute_logger("odoo.addons.aigen_image.models.aigen_image_model_synchronize")
    def test_an_entry_that_cannot_be_read_hinders_no_other_and_its_model_stays(self):
        self.synchronize(entry(), entry(INK))
        words = self.synchronize(entry(name="Flux 2"), {"modelId": INK}, 7, {}, {"modelId": "x", "name": "x"})
        self.assertIn("could not be read", words)
        self.assertEqual(self.by_uuid(FLUX).name, "Flux 2")
        self.assertTrue(self.by_uuid(INK).active)

    def test_parts_that_are_not_as_agreed_are_no_rules(self):
        for wrong in (7, "x", [], {"min": 5, "max": 1, "default": 3}, {"min": 0, "max": 999, "default": 3}, None):
            self.synchronize(entry(steps=wrong, cfgScale=wrong, price=wrong, resolutions=wrong, supports=wrong))
            model = self.by_uuid(FLUX)
            self.assertEqual((model.steps_offered, model.cfg_offered, model.price), (False, False, False), wrong)
            self.assertEqual(len(model._sizes()), 8)

    def test_the_cron_reads_the_catalogue_only_when_it_changed(self):
        models = self.env["aigen.image.model"]
        self.offer(entry(), etag='"7"')
        models._cron_synchronize()
        self.commit()
        self.bridge.say("GET", client.MODELS, 304)
        self.by_uuid(FLUX).steps = 9
        models._cron_synchronize()
        self.commit()
        tags = [headers.get("If-None-Match") for _, path, _, headers in self.bridge.calls if path == client.MODELS]
        self.assertEqual(tags, [None, '"7"'])
        self.assertEqual(self.by_uuid(FLUX).steps, 9)
        self.synchronize(entry())
        self.assertEqual(self.by_uuid(FLUX).steps, 28, "the button also takes back what was changed here")
        self.assertEqual(len(self.toasts_shown), 1, "the cron tells nobody")

    def test_an_older_bridge_a_stranger_and_one_that_is_away_change_nothing_and_say_why(self):
        self.env["aigen.image.model"].with_user(self.mia).action_synchronize()
        self.commit()
        self.assertIn("too old", self.toasts_shown[-1][1])
        self.bridge.answers["GET", client.MODELS] = (200, {"items": []}, {})
        self.env["aigen.image.model"].with_user(self.mia).action_synchronize()
        self.commit()
        self.assertIn("is not the bridge", self.toasts_shown[-1][1])
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        self.env["aigen.image.model"].with_user(self.mia).action_synchronize()
        self.commit()
        self.assertIn("not running", self.toasts_shown[-1][1])
        self.assertTrue(self.model.active)
        self.assertEqual({kind for *_, kind in self.toasts_shown}, {"warning"})

    @mute_logger("odoo.addons.base.models.ir_model")
    def test_only_managers_synchronize(self):
        with self.assertRaises(AccessError):
            self.env["aigen.image.model"].with_user(self.ann).action_synchronize()
