from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..bridge import client
from ..wizards.aigen_bridge_check import NOBODY
from .common import AigenCase

LETTERS = f"{client.OPS}/dead-letters"
PROBE = f"{client.REQUESTS}/{NOBODY}"


@tagged("post_install", "-at_install")
class TestSettings(AigenCase):
    def save(self, **values):
        settings = self.env["res.config.settings"].create(values)
        settings.execute()
        return settings

    def param(self, name):
        return self.env["ir.config_parameter"].get_param(f"aigen_image.{name}")

    def test_an_address_is_kept_without_a_slash_and_nonsense_is_refused_in_words(self):
        self.save(aigen_bridge_url=" https://bridge.example:8443/ ")
        self.assertEqual(self.param("bridge_url"), "https://bridge.example:8443")
        wrong = {
            "bridge": "begins with http",
            "ftp://bridge": "begins with http",
            "javascript:alert(1)": "begins with http",
            "http://": "name of a machine",
            "http://a b": "name of a machine",
            "http://me:secret@bridge": "No user name",
            "http://bridge:99999": "no port",
            "http://bridge/?a=1": "without",
        }
        for url, words in wrong.items():
            with self.assertRaisesRegex(ValidationError, words, msg=url):
                self.save(aigen_bridge_url=url)

    def test_keys_are_written_and_never_read_back(self):
        settings = self.save(aigen_bridge_url=self.bridge.url, aigen_bridge_key="new-key", aigen_bridge_ops_key="ops")
        self.assertEqual((self.param("bridge_key"), self.param("bridge_ops_key")), ("new-key", "ops"))
        self.assertNotIn("new-key", str(settings.read()))
        values = self.env["res.config.settings"].get_values()
        self.assertTrue(values["aigen_key_is_set"])
        self.assertNotIn("new-key", str(values))
        self.save(aigen_bridge_url=self.bridge.url)  # an empty field changes nothing
        self.assertEqual(self.param("bridge_key"), "new-key")

    def check(self):
        settings = self.env["res.config.settings"].create({"aigen_bridge_url": self.bridge.url})
        found = self.env["aigen.bridge.check"].browse(settings.action_aigen_check()["res_id"])
        self.commit()
        return found

    def test_the_check_says_what_is_wrong(self):
        self.bridge.say("GET", "/health/ready", 200)
        found = self.check()
        self.assertEqual(
            (found.reachable, found.ready, found.accepted, found.comes_back), ("good", "good", "good", "bad")
        )
        self.assertIn("no API key", found.words)
        self.env["res.users.apikeys"].with_user(self.robot).sudo()._generate("rpc", "test", None)
        self.env.invalidate_all()
        found = self.check()
        self.assertEqual((found.comes_back, found.words), ("good", "Everything is in order."))
        self.bridge.say("GET", LETTERS, 403)
        found = self.check()
        self.assertEqual((found.accepted, found.operates), ("good", "open"))
        self.assertIn("Nobody can re-trigger", found.words)
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_ops_key", "key-of-ops")
        for status, state in ((200, "good"), (401, "bad"), (503, "open")):
            self.bridge.say("GET", LETTERS, status)
            self.assertEqual(self.check().operates, state, status)
        self.bridge.say("GET", PROBE, 401)
        self.assertIn("does not know this key", self.check().words)
        self.bridge.say("GET", PROBE, 403)
        self.assertIn("scope", self.check().words)
        self.bridge.say("GET", PROBE, 403, {"code": "wrong_database"})
        found = self.check()
        self.assertEqual((found.reachable, found.accepted), ("good", "bad"))
        self.assertIn("odoos confirm", found.words)
        self.assertIn("odoo-bin neutralize", found.words)
        self.bridge.say("GET", PROBE, 503)
        self.bridge.say("GET", "/health/ready", 503)
        self.assertIn("cannot take requests", self.check().words)
        self.bridge.answers["GET", "/health/ready"] = (200, {}, {})
        found = self.check()
        self.assertEqual(found.reachable, "bad")
        self.assertIn("not the bridge", found.words)

    def test_the_check_tells_a_key_of_operations_of_another_database_from_a_copy(self):
        self.bridge.say("GET", "/health/ready", 200)
        self.bridge.say("GET", LETTERS, 403, {"code": "wrong_database"})
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_ops_key", "key-of-the-operators")
        found = self.check()
        self.assertEqual((found.reachable, found.accepted, found.operates), ("good", "good", "bad"))
        self.assertIn("key of operations is for another database", found.words)

    def test_the_check_tries_what_is_typed_and_saves_nothing(self):
        self.bridge.say("GET", "/health/ready", 200)
        self.bridge.say("GET", LETTERS, 403)
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        settings = self.env["res.config.settings"]
        found = self.env["aigen.bridge.check"].browse(
            settings.aigen_check(self.bridge.url, " typed ", "typed-ops")["res_id"]
        )
        self.commit()
        self.assertEqual((found.accepted, found.operates, found.is_unsaved), ("good", "bad", True))
        self.assertIn("scope “ops”", found.words)
        self.assertEqual([call[3]["X-API-Key"] for call in self.bridge.calls], ["typed", "typed", "typed-ops"])
        self.assertEqual((self.param("bridge_url"), self.param("bridge_key")), ("http://127.0.0.1:9", "key-of-odoo"))
        self.assertFalse(self.param("bridge_ops_key"))
        self.assertNotIn("typed", str(found.read()))
        found = self.env["aigen.bridge.check"].browse(settings.aigen_check("http://127.0.0.1:9", "", "")["res_id"])
        self.commit()
        self.assertEqual((found.reachable, found.operates, found.is_unsaved), ("bad", "open", False))
        with self.assertRaisesRegex(ValidationError, "begins with http"):
            settings.aigen_check("bridge", "", "")

    def test_the_check_says_so_when_a_key_or_an_address_cannot_be_sent(self):
        self.bridge.say("GET", "/health/ready", 200)
        self.bridge.say("GET", PROBE, 401)
        cases = {
            (self.bridge.url, "copied\u200b"): "does not know this key",
            (self.bridge.url, "a\nb"): "could not be reached",
            ("http://.example", "key"): "no web address",
            ("", "key"): "Enter the bridge's address",
        }
        for (url, key), words in cases.items():
            check = self.env["res.config.settings"].aigen_check(url, key, "")
            self.commit()
            self.assertIn(words, self.env["aigen.bridge.check"].browse(check["res_id"]).words or "", (url, key))

    @mute_logger("odoo.addons.base.models.ir_model")
    def test_only_administrators_come_near_the_settings(self):
        with self.assertRaises(AccessError):
            self.env["res.config.settings"].with_user(self.mia).create({}).execute()
        with self.assertRaises(AccessError):
            self.env["aigen.bridge.check"].with_user(self.mia).create({})
        with self.assertRaises(AccessError):
            self.env["res.config.settings"].with_user(self.mia).aigen_check(self.bridge.url, "", "")
