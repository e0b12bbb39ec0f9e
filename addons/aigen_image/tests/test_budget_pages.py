from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..bridge import client
from ..models.aigen_budget import BUDGETS
from .common import AigenCase


def budget(name="marketing", **changes):
    """A budget as the bridge lists it."""
    usual = {
        "name": name,
        "limit": "100.00",
        "currency": "USD",
        "period": "month",
        "kind": "hard",
        "match": {},
        "contact": "anna@example.com",
        "timeZone": "UTC",
        "periodStart": "2026-01-01T00:00:00Z",
        "periodEnd": "2026-02-01T00:00:00Z",
        "spent": "79.965",
        "reserved": "0.035",
        "left": "20.00",
        "updatedAt": "2026-01-01T00:00:00Z",
    }
    return usual | changes


@tagged("post_install", "-at_install")
class TestLeft(AigenCase):
    def ask(self, user=None):
        left = self.env["aigen.money.left"].with_user(user or self.ann)
        found = left.browse(left.ask({"model_id": self.model.id, "campaign_id": False, "resolution": "1024x1024"}))
        self.commit()
        return found.read(["budgets", "is_known"])[0]

    def test_the_form_is_told_what_is_left_the_tightest_hard_budget_first(self):
        items = [budget("soft", kind="soft", left="1.00"), budget("wide"), budget("tight", left="0.02", spent="99.945")]
        self.bridge.say("GET", client.BUDGETS, 200, {"items": [*items, {"name": "odd"}, 7, budget(left=7)]})
        found = self.ask()
        self.assertEqual([one["name"] for one in found["budgets"]], ["tight", "wide", "soft"])
        tight = found["budgets"][0]
        self.assertEqual((tight["left"], tight["limit"], tight["currency"]), ("0.02", "100.00", "USD"))
        self.assertAlmostEqual(tight["used"], 99.98)
        self.model.offer = {"name": "Photo", "price": {"amount": "0.03", "currency": "USD", "per": "image"}}
        self.assertEqual([one["is_too_little"] for one in self.ask()["budgets"]], [True, False, False])
        self.bridge.calls.clear()
        self.model.offer = {"name": "Photo", "price": {"amount": "0.03", "currency": "EUR", "per": "image"}}
        self.assertFalse(any(one["is_too_little"] for one in self.ask()["budgets"]))
        [query] = self.bridge.sent("GET", client.BUDGETS)
        self.assertEqual(query, {"userId": self.ann.aigen_uuid, "modelId": self.model.uuid})

    def test_an_older_bridge_and_one_that_is_away_tell_nothing(self):
        self.assertEqual(self.ask(), {"id": self.ask()["id"] - 1, "budgets": False, "is_known": False})
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        self.assertFalse(self.ask()["is_known"])
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", False)
        self.assertFalse(self.ask()["is_known"])

    @mute_logger("odoo.addons.base.models.ir_model", "odoo.addons.base.models.ir_rule")
    def test_nobody_reads_the_answer_for_another_person(self):
        left = self.env["aigen.money.left"].with_user(self.ann)
        question = left.browse(left.ask({}))
        with self.assertRaises(AccessError):
            question.with_user(self.bob).read(["budgets"])
        with self.assertRaises(AccessError):
            left.with_user(self.stranger).ask({})


@tagged("post_install", "-at_install")
class TestBudgetPages(AigenCase):
    def setUp(self):
        super().setUp()
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_ops_key", "key-of-ops")
        self.shown = []

        def keep(_self, *told):
            self.shown.append(told[1])

        self.patch(self.registry["aigen.budget"], "_tell_person", keep)

    def open(self, *items):
        """Open the page while the bridge has these budgets."""
        self.bridge.say("GET", BUDGETS, 200, {"items": list(items)})
        action = self.env["aigen.budget"].with_user(self.mia).action_open()
        self.commit()
        self.assertEqual(action["res_model"], "aigen.budget")
        return self.env["aigen.budget"].with_user(self.mia).search([])

    def change(self, found=None, **values):
        """The dialog for a budget, or for a new one."""
        budgets = self.env["aigen.budget"].with_user(self.mia)
        action = found.action_edit() if found else budgets.action_new()
        changes = self.env["aigen.budget.change"].with_user(self.mia).with_context(**action["context"])
        change = changes.browse(action["res_id"]) if found else changes.create({"name": "new", "limit": "5"} | values)
        if found:
            change.write(values)
        return change

    def save(self, change, **how):
        change.action_save(**how)
        self.commit()
        return change

    def test_the_page_shows_the_bridges_budgets_in_words(self):
        match = {"userId": self.ann._get_aigen_uuid(), "modelId": self.model.uuid, "odoo": "north"}
        found = self.open(budget(), budget("ann", match=match, period="day", kind="soft"))
        ann, marketing = found
        self.assertEqual((marketing.limit_shown, marketing.left_shown), ("100.00 USD", "20.00 USD"))
        self.assertEqual((marketing.used_percent, marketing.counts), (80.0, "everybody"))
        for words in (f"Person: {self.ann.name}", "Model: Photo", "odoo: north"):
            self.assertIn(words, ann.counts)
        self.assertEqual(self.bridge.calls[-1][3]["X-API-Key"], "key-of-ops")
        self.assertEqual(self.open(budget(spent="99.965")), marketing, "what is gone there is gone here")
        self.assertEqual(marketing.spent, "99.965")

    def test_what_is_saved_goes_to_the_bridge_as_it_was_and_with_what_was_changed(self):
        match = {"userId": self.ann._get_aigen_uuid(), "campaignId": "5f0c8a52-3c59-4a0e-9a55-2f8b1c6d7e01"}
        [found] = self.open(budget(match=match, limit="0.035"))
        change = self.change(found, user_id=self.bob.id, period="total", contact=False)
        self.bridge.say(
            "PUT", f"{BUDGETS}/marketing", 200, budget() | {"remarks": ["It has counted no request so far."]}
        )
        self.save(change)
        [sent] = self.bridge.sent("PUT", f"{BUDGETS}/marketing")
        other = {"userId": self.bob.aigen_uuid, "campaignId": match["campaignId"]}
        self.assertEqual(sent, {"limit": "0.035", "currency": "USD", "period": "total", "kind": "hard", "match": other})
        self.assertEqual((change.state, change.words), ("done", "It has counted no request so far."))
        self.assertEqual(self.bridge.calls[-1][:2], ("GET", BUDGETS), "the page is read again")

    def test_a_new_budget_is_typed_as_in_the_language(self):
        self.env["res.lang"]._activate_lang("de_DE")
        self.mia.lang = "de_DE"
        change = self.change(name="team", limit=" 1000,5 ", currency="eur", model_id=self.model.id).with_context(
            lang="de_DE"
        )
        self.bridge.say("PUT", f"{BUDGETS}/team", 200, budget("team"))
        self.save(change)
        [sent] = self.bridge.sent("PUT", f"{BUDGETS}/team")
        self.assertEqual((sent["limit"], sent["currency"]), ("1000.50", "EUR"))
        self.assertEqual(sent["match"], {"modelId": self.model.uuid})

    def test_an_amount_that_means_another_one_elsewhere_is_refused(self):
        self.env["res.lang"]._activate_lang("de_DE")
        for typed in ("1.000", "12.500", "1.000,5"):
            change = self.change(limit=typed).with_context(lang="de_DE")
            with self.assertRaises(ValidationError, msg=typed) as refused:
                change.action_save()
            self.assertIn("100,00", str(refused.exception))
        with self.assertRaises(ValidationError):
            self.change(limit="1,000").action_save()

    def test_a_new_budget_does_not_replace_one_that_has_its_name(self):
        self.bridge.say("GET", f"{BUDGETS}/new", 200, budget("new"))
        change = self.save(self.change())
        self.assertEqual((change.state, change.may_force), ("refused", False))
        self.assertIn("name already", change.words)
        self.assertEqual(self.bridge.sent("PUT", f"{BUDGETS}/new"), [])

    def test_what_another_person_changed_meanwhile_is_not_overwritten(self):
        [found] = self.open(budget())
        change = self.change(found, limit="5")
        newer = budget(limit="7.00", updatedAt="2026-01-02T00:00:00Z")
        self.bridge.say("GET", f"{BUDGETS}/marketing", 200, newer)
        self.bridge.say("GET", BUDGETS, 200, {"items": [newer]})
        self.save(change)
        change.action_remove()
        self.commit()
        self.assertEqual(change.state, "refused")
        self.assertIn("changed meanwhile", change.words)
        self.assertEqual({call[0] for call in self.bridge.calls}, {"GET"})
        change = self.change(found, limit="9")
        self.bridge.say("PUT", f"{BUDGETS}/marketing", 200, newer)
        self.assertEqual(self.save(change).state, "done")

    def test_a_budget_that_is_gone_already_is_removed(self):
        [found] = self.open(budget())
        change = self.change(found)
        self.bridge.say("DELETE", f"{BUDGETS}/marketing", 404, {"code": "budget_unknown", "detail": "There is none."})
        self.bridge.say("GET", BUDGETS, 200, {"items": []})
        change.action_remove()
        self.commit()
        self.assertEqual((change.state, found.exists()), ("done", found.browse()))

    def test_a_budget_of_a_model_of_another_company_can_be_changed(self):
        self.model.company_ids = self.env["res.company"].create({"name": "Elsewhere"})
        [found] = self.open(budget(match={"modelId": self.model.uuid}))
        self.bridge.say("PUT", f"{BUDGETS}/marketing", 200, budget())
        change = self.change(found, limit="5")
        self.env.invalidate_all()
        self.assertEqual(self.save(change).state, "done")
        [sent] = self.bridge.sent("PUT", f"{BUDGETS}/marketing")
        self.assertEqual(sent["match"], {"modelId": self.model.uuid})

    def test_nonsense_is_refused_before_the_bridge_is_asked(self):
        cases = {
            "name": ("Marketing team", "../ops", "", "ä", "a" * 64),
            "limit": ("-1", "nan", "1e3", "a lot", "1.0000000001", "1,000.00"),
            "currency": ("US", "dol", "12"),
        }
        for field, values in cases.items():
            for value in values:
                change = self.change(**{field: value})
                if field == "currency" and value == "dol":
                    continue
                with self.assertRaises(ValidationError, msg=(field, value)):
                    change.action_save()
        self.assertEqual(self.bridge.calls, [])

    def test_a_refusal_stays_in_the_dialog_with_the_bridges_words(self):
        problem = {
            "code": "validation_failed",
            "detail": "The budget is not valid.",
            "errors": [{"field": "match.odoo", "message": "is not known", "allowed": "default"}],
        }
        self.bridge.say("PUT", f"{BUDGETS}/new", 422, problem)
        change = self.save(self.change())
        self.assertEqual(change.state, "refused")
        self.assertEqual(change.words, "The budget is not valid.\nmatch.odoo is not known (default)")
        self.assertFalse(change.may_force)

    def test_an_older_addon_elsewhere_can_be_overruled_knowingly(self):
        self.bridge.say("PUT", f"{BUDGETS}/new", 409, {"code": "addon_too_old", "detail": "north has 1.4.0."})
        change = self.save(self.change())
        self.assertEqual((change.state, change.may_force), ("refused", True))
        self.bridge.say("PUT", f"{BUDGETS}/new", 200, budget("new"))
        self.save(change, force=True)
        self.assertEqual(change.state, "done")
        self.assertEqual(self.bridge.sent("PUT", f"{BUDGETS}/new")[-1]["force"], "true")

    def test_removing_removes_it_at_the_bridge(self):
        [found] = self.open(budget())
        change = self.change(found)
        self.bridge.say("DELETE", f"{BUDGETS}/marketing", 204)
        self.bridge.say("GET", BUDGETS, 200, {"items": []})
        change.action_remove()
        self.commit()
        self.assertEqual((change.state, found.exists()), ("done", found.browse()))

    def test_without_a_right_key_or_with_an_older_bridge_the_page_says_so_and_keeps_what_it_knew(self):
        [found] = self.open(budget())
        for status, words in (
            (403, "scope “ops”"),
            (401, "does not know the key"),
            (404, "too old"),
            (503, "cannot do that"),
        ):
            self.bridge.say("GET", BUDGETS, status)
            self.env["aigen.budget"].with_user(self.mia).action_open()
            self.commit()
            self.assertIn(words, self.shown[-1])
            self.assertTrue(found.exists())
        self.bridge.answers.pop(("PUT", f"{BUDGETS}/new"), None)
        self.assertIn("too old", self.save(self.change()).words)
        self.bridge.say("PUT", f"{BUDGETS}/new", 403)
        self.assertIn("scope “ops”", self.save(self.change()).words)
        self.env["ir.config_parameter"].set_param("aigen_image.bridge_url", "http://127.0.0.1:9")
        self.assertIn("not running", self.save(self.change()).words)

    @mute_logger("odoo.addons.base.models.ir_model")
    def test_only_managers_come_near_budgets(self):
        self.open(budget())
        budgets = self.env["aigen.budget"].with_user(self.ann)
        for call in (budgets.action_open, budgets.action_new, lambda: budgets.search([]).read(["name"])):
            with self.assertRaises(AccessError):
                call()
        with self.assertRaises(AccessError):
            self.env["aigen.budget.change"].with_user(self.ann).create({"name": "x", "limit": "1", "currency": "USD"})
