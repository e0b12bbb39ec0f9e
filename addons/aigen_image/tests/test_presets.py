import time

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import mute_logger

from ..bridge.placeholders import find_placeholders
from .common import AigenCase
from .test_offer import OFFER

PRESENT = {"prompt": "Mine", "shape": "1:1", "detail": "standard", "steps": 28, "cfg": 3.5}


@tagged("post_install", "-at_install")
class TestPresets(AigenCase):
    def setUp(self):
        super().setUp()
        self.other = self.env["aigen.image.model"].create({"name": "Sketch", "steps": 8, "cfg": 2, "sequence": 99})

    def preset(self, user=None, **values):
        return self.env["aigen.image.preset"].with_user(user or self.ann).create({"name": "Studio"} | values)

    def propose(self, preset, **present):
        return preset.propose(PRESENT | {"model_id": self.model.id} | present)

    def test_only_what_a_preset_sets_is_changed(self):
        proposal = self.propose(self.preset(shape="9:16", negative_prompt="people"))
        self.assertEqual(proposal["values"], {"shape": "9:16", "negative_prompt": "people"})
        self.assertEqual((proposal["notes"], proposal["placeholders"]), ([], []))

    def test_a_model_brings_its_own_steps_and_guidance_unless_the_preset_has_some(self):
        values = self.propose(self.preset(model_id=self.other.id, cfg=7))["values"]
        self.assertEqual((values["steps"], values["cfg"]), (8, 7))
        self.assertEqual(values["model_id"], {"id": self.other.id, "display_name": "Sketch"})

    def test_what_a_preset_proposes_stays_as_it_is_in_the_form(self):
        """The form computes shape, steps and guidance when the model changes."""
        self.other.write({"steps": 28, "cfg": 2})
        for wishes in ({"shape": "3:2", "detail": "large", "steps": 3}, {"shape": "3:2", "detail": "large", "cfg": 7}):
            values = self.propose(self.preset(model_id=self.other.id, **wishes))["values"]
            self.assertEqual(values | wishes, values)
            values["model_id"] = values["model_id"]["id"]
            requests = self.env["aigen.image.request"].with_user(self.ann)
            spec = {name: {} for name in (*PRESENT, "model_id", "resolution")}
            present = PRESENT | {"model_id": self.model.id}
            changed = requests.onchange(present | values, list(values), spec)["value"]
            self.assertFalse(changed.keys() & values.keys(), changed)
            self.assertEqual(changed["resolution"], "1728x1152")

    def test_a_size_that_the_model_does_not_offer_becomes_the_nearest_and_is_said(self):
        self.model.offer = OFFER
        proposal = self.propose(self.preset(shape="3:4", detail="large", steps=90), shape="16:9", steps=10)
        self.assertEqual(proposal["values"], {"shape": "1:1", "steps": 28})
        self.assertIn("does not offer this shape", " ".join(proposal["notes"]))
        self.assertIn("takes 4 to 30", " ".join(proposal["notes"]))

    def test_a_model_that_is_archived_withdrawn_or_of_another_company_is_not_taken(self):
        preset = self.preset(model_id=self.other.id, shape="9:16")
        company = self.env["res.company"].create({"name": "Elsewhere"})
        hidden = {"active": False}, {"active": True, "company_ids": [Command.set(company.ids)]}
        for values in hidden:
            self.other.write(values)
            proposal = self.propose(preset)
            self.assertEqual(proposal["values"], {"shape": "9:16"}, values)
            self.assertIn("no longer offered", proposal["notes"][0])
        self.other.unlink()
        self.assertEqual(self.propose(preset), {"values": {"shape": "9:16"}, "notes": [], "placeholders": []})

    def test_placeholders_are_found_once_and_in_order(self):
        texts = "{{ subject }} on {{the sea}}, {{subject}} {red|blue} {{}} {{ }} {{<b>}}", "no {{people}}", None
        self.assertEqual(find_placeholders(*texts), ["subject", "the sea", "<b>", "people"])
        preset = self.preset(prompt="a {{subject}}", negative_prompt="{{what}}")
        self.assertEqual(self.propose(preset)["placeholders"], ["subject", "what"])
        self.assertEqual(self.propose(preset, prompt="a {{subject}}")["placeholders"], ["subject", "what"])
        self.assertEqual(self.propose(self.preset(shape="9:16"), prompt="a {{x}}")["placeholders"], [])

    def test_long_texts_are_searched_quickly(self):
        for text in ("{{" + " " * 40_000, "{{" + " " * 20_000 + "a" + " " * 20_000):
            since = time.monotonic()
            self.assertEqual(find_placeholders(text), [])
            self.assertLess(time.monotonic() - since, 1)

    def test_a_prompt_with_a_placeholder_is_kept_but_not_sent(self):
        record = self.draft(prompt="a portrait of {{subject}}", negative_prompt="{{what}}")
        self.assertIn("{{subject}}, {{what}}", record.unfilled)
        with self.assertRaisesRegex(UserError, r"in place of \{\{subject"):
            record.action_generate()
        self.assertEqual(record.status, "draft")
        self.bridge.takes_requests()
        record.write({"prompt": "a portrait of Ada", "negative_prompt": False})
        record.action_generate()
        self.commit()
        self.assertEqual([event["prompt"] for event in self.bridge.sent()], ["a portrait of Ada"])

    def test_a_preset_may_have_placeholders_beside_and_in_alternatives(self):
        proposal = self.propose(self.preset(prompt="a {{colour}} {boat|{{thing}}}"))
        self.assertEqual(proposal["placeholders"], ["colour", "thing"])
        record = self.draft(prompt=proposal["values"]["prompt"])
        self.assertEqual(record.matrix_prompts, ["a {{colour}} boat", "a {{colour}} {{thing}}"])
        with self.assertRaisesRegex(UserError, "in place of"):
            record.action_generate()
        record.prompt = "a red {boat|kite}"
        record.action_generate()
        self.assertEqual(set(record.batch_id.request_ids.mapped("prompt")), {"a red boat", "a red kite"})

    def test_a_form_says_at_once_what_is_not_filled_in(self):
        form = Form(self.env["aigen.image.request"].with_user(self.ann))
        form.prompt = "a {{subject}}"
        self.assertIn("{{subject}}", form.unfilled)
        form.prompt = "a boat"
        self.assertFalse(form.unfilled)

    def test_a_preset_that_is_gone_or_no_longer_shared_says_so(self):
        preset = self.preset(self.bob, visibility="shared", user_ids=[Command.set(self.ann.ids)], shape="9:16")
        theirs = preset.with_user(self.ann)
        self.assertEqual(self.propose(theirs)["values"], {"shape": "9:16"})
        preset.user_ids = False
        with self.assertRaisesRegex(UserError, "not there any more"):
            self.propose(theirs)
        preset.unlink()
        with self.assertRaisesRegex(UserError, "not there any more"):
            self.propose(theirs)

    def test_limits_are_those_of_a_picture(self):
        with mute_logger("odoo.sql_db"):
            for values in ({"steps": 101}, {"cfg": 36}):
                with self.assertRaises(Exception), self.cr.savepoint():  # noqa: B017 - as psycopg2 says it
                    self.preset(**values)
        with self.assertRaisesRegex(ValidationError, "at most 4000"):
            self.preset(prompt="x" * 4001)


@tagged("post_install", "-at_install")
class TestWhoSeesPresets(AigenCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.team = cls.env["res.groups"].create({"name": "The team"})
        cls.eve = new_test_user(cls.env, "aigen_eve", groups="base.group_user,aigen_image.group_user")
        cls.team._aigen_add_users(cls.eve.ids)
        cls.preset = cls.env["aigen.image.preset"].with_user(cls.ann).create({"name": "<b>Studio</b>", "shape": "9:16"})

    def assertSeen(self, **seen):
        self.env.flush_all()
        self.env.invalidate_all()
        for name, expected in seen.items():
            user = getattr(self, name)
            found = self.env["aigen.image.preset"].with_user(user).search([("id", "=", self.preset.id)])
            self.assertEqual(bool(found), expected, name)
            if found:
                self.assertEqual(found.is_editable, name in {"ann", "mia"}, name)

    @mute_logger("odoo.addons.base.models.ir_rule", "odoo.addons.base.models.ir_model")
    def test_own_person_group_company_and_other_company(self):
        self.assertSeen(ann=True, bob=False, eve=False, mia=True)
        self.preset.write({"visibility": "shared", "user_ids": [Command.set(self.bob.ids)]})
        self.assertSeen(ann=True, bob=True, eve=False)
        self.preset.write({"user_ids": False, "group_ids": [Command.set(self.team.ids)]})
        self.assertSeen(ann=True, bob=False, eve=True)
        self.preset.visibility = "company"
        self.assertSeen(bob=True, eve=True)
        other = self.env["res.company"].create({"name": "Elsewhere"})
        self.bob.write({"company_ids": [Command.set(other.ids)], "company_id": other.id})
        self.assertSeen(bob=False)
        portal = new_test_user(self.env, "aigen_portal", groups="base.group_portal")
        for user in (self.stranger, portal):
            with self.assertRaises(AccessError):
                self.preset.with_user(user).read(["name"])

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_who_sees_it_does_not_change_it_but_managers_curate(self):
        self.preset.visibility = "company"
        for call in (lambda one: one.write({"name": "x"}), lambda one: one.unlink()):
            with self.assertRaises(AccessError):
                call(self.preset.with_user(self.eve))
        with self.assertRaises(AccessError):
            self.env["aigen.image.preset"].with_user(self.eve).create({"name": "x", "user_id": self.bob.id})
        self.preset.with_user(self.mia).write({"name": "Studio", "active": False})
        self.assertSeen(ann=False)
