from contextlib import suppress

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import AigenCase, payload

PROTECTED = {
    "status": "completed", "version": 9, "request_id": "x", "correlation_id": "x", "error_code": "x",
    "error_message": "x", "attachment_id": 1, "log": [], "requested_at": "2020-01-01 00:00:00", "image_sha256": "x",
    "refusals": {}, "company_id": 1,
}  # fmt: skip


@tagged("post_install", "-at_install")
class TestAccess(AigenCase):
    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_a_person_sees_and_touches_own_pictures_only(self):
        mine, other = self.draft(self.ann), self.draft(self.bob)
        requests = self.env["aigen.image.request"]
        self.assertEqual(requests.with_user(self.ann).search([("id", "in", (mine + other).ids)]), mine)
        theirs = other.with_user(self.ann)
        for method in ("action_generate", "action_cancel", "action_refresh", "action_follow", "unlink", "copy"):
            with self.assertRaises(AccessError, msg=method):
                getattr(theirs, method)()
        for call in (lambda: theirs.read(["prompt"]), lambda: theirs.write({"prompt": "x"})):
            with self.assertRaises(AccessError):
                call()

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_nobody_sees_the_picture_file_of_another(self):
        record = self.underway()
        self.apply(payload(record))
        file = record.attachment_id
        self.assertTrue(file.with_user(self.ann).read(["datas"]))
        self.assertTrue(file.with_user(self.mia).read(["datas"]))
        for user in (self.bob, self.stranger, self.robot):
            with self.assertRaises(AccessError):
                file.with_user(user).read(["datas"])

    def test_a_manager_sees_all(self):
        records = self.draft(self.ann) + self.draft(self.bob)
        self.assertEqual(len(records.with_user(self.mia).search([("id", "in", records.ids)])), 2)

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_companies_are_apart(self):
        other = self.env["res.company"].create({"name": "Other"})
        record = self.draft(self.ann)
        self.mia.company_ids = [Command.link(other.id)]
        here = record.with_user(self.mia).with_context(allowed_company_ids=[self.env.company.id])
        there = record.with_user(self.mia).with_context(allowed_company_ids=[other.id])
        self.assertTrue(here.read(["prompt"]))
        with self.assertRaises(AccessError):
            there.read(["prompt"])
        self.model.company_ids = other
        self.assertFalse(self.env["aigen.image.model"].with_user(self.ann).search([("id", "=", self.model.id)]))

    def test_state_is_not_written_by_hand_by_anybody(self):
        record = self.underway()
        for user in (self.ann, self.mia, self.env.ref("base.user_admin")):
            for name, value in PROTECTED.items():
                with self.assertRaises(AccessError, msg=(user.login, name)):
                    record.with_user(user).write({name: value})
        with self.assertRaises(AccessError):
            self.draft(status="completed")
        with self.assertRaises(AccessError):
            self.draft(user_id=self.bob.id)

    def test_defaults_in_the_context_decide_neither_state_nor_owner(self):
        context = {"default_status": "completed", "default_user_id": self.bob.id, "default_version": 9}
        values = {"prompt": "x", "model_id": self.model.id}
        record = self.env["aigen.image.request"].with_user(self.ann).with_context(**context).create(values)
        self.assertEqual((record.status, record.user_id, record.version), ("draft", self.ann, 0))

    def test_what_was_asked_for_stands(self):
        record = self.underway()
        with self.assertRaisesRegex(UserError, "Edit prompt"):
            record.prompt = "Something else"

    def test_a_running_one_is_not_deleted_an_ended_one_is_with_its_file(self):
        record = self.underway()
        with self.assertRaisesRegex(UserError, "Cancel it"):
            record.unlink()
        self.apply(payload(record))
        file = record.attachment_id.sudo()
        record.unlink()
        self.assertFalse(file.exists())

    def test_only_managers_re_trigger_and_keep_the_catalogue(self):
        record = self.underway()
        self.apply({"requestId": record.request_id, "version": 2, "status": "failed"})
        with self.assertRaisesRegex(AccessError, "manager"):
            record.action_retrigger()
        with self.assertRaises(AccessError):
            self.model.with_user(self.ann).name = "Mine"
        self.model.with_user(self.mia).name = "Ours"

    def test_the_bridges_user_may_do_nothing_else(self):
        record = self.underway()
        for name in ("aigen.image.request", "aigen.image.model", "res.partner", "ir.config_parameter"):
            with self.assertRaises(AccessError, msg=name):
                self.env[name].with_user(self.robot).search([]).read(["display_name"])
        with self.assertRaises(AccessError):
            record.with_user(self.robot).action_cancel()
        self.assertFalse(self.robot.has_group("base.group_user"))
        self.env.cr.execute("SELECT password FROM res_users WHERE id = %s", [self.robot.id])
        self.assertFalse(self.env.cr.fetchone()[0])

    @mute_logger("odoo.addons.base.models.ir_model")
    def test_the_bridges_user_reads_no_file(self):
        """Odoo 18 refuses the search, 19 finds nothing."""
        record = self.underway()
        self.apply(payload(record))
        files = self.env["ir.attachment"].with_user(self.robot)
        own = files.sudo().create({"name": "own.txt", "raw": b"x"})
        public = self.env["ir.attachment"].create({"name": "public.txt", "raw": b"x", "public": True})
        for file in (record.attachment_id, own, public):
            with self.assertRaises(AccessError):
                file.with_user(self.robot).read(["datas"])
        for domain in ([], [("id", "in", (record.attachment_id + own + public).ids)], [("public", "=", True)]):
            with suppress(AccessError):
                self.assertFalse(files.search(domain), domain)
            with suppress(AccessError):
                self.assertFalse(files.search_count(domain), domain)

    def test_people_read_neither_keys_nor_uuids_of_others(self):
        with self.assertRaises(AccessError):
            self.env["ir.config_parameter"].with_user(self.mia).get_param("aigen_image.bridge_key")
        with self.assertRaises(AccessError):
            self.bob.with_user(self.ann).read(["aigen_uuid"])

    def test_a_persons_uuid_stays(self):
        first = self.ann._get_aigen_uuid()
        self.assertEqual(self.ann._get_aigen_uuid(), first)
        self.assertNotEqual(self.bob._get_aigen_uuid(), first)
        self.assertFalse(self.ann.copy({"login": "aigen_ann2"}).aigen_uuid)
