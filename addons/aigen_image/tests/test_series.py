from odoo.tests import TransactionCase, tagged

CONSTRAINTS = {
    "aigen_image_model_uuid_unique",
    "aigen_image_model_steps_range",
    "aigen_image_model_cfg_range",
    "aigen_image_request_request_id_unique",
    "aigen_image_request_seed_natural",
    "aigen_image_request_steps_range",
    "aigen_image_request_cfg_range",
    "res_users_aigen_uuid_unique",
}


@tagged("post_install", "-at_install")
class TestSeries(TransactionCase):
    """Constraints and groups, which Odoo 18 and 19 declare differently, exist on both."""

    def test_the_database_has_every_constraint_with_its_words(self):
        self.env.cr.execute("SELECT conname FROM pg_constraint WHERE conname = ANY(%s)", [list(CONSTRAINTS)])
        self.assertEqual({name for [name] in self.env.cr.fetchall()}, CONSTRAINTS)
        declared = self.env["ir.model.constraint"].search([("name", "in", list(CONSTRAINTS))])
        self.assertEqual(set(declared.filtered("message").mapped("name")), CONSTRAINTS)

    def test_the_groups_have_a_heading_of_their_own_and_administrators_manage_pictures(self):
        for name, words in {"user": "User: own pictures", "manager": "Manager: all pictures and the models"}.items():
            self.assertEqual(self.env.ref(f"aigen_image.group_{name}").full_name, f"AI Images / {words}")
        self.assertTrue(self.env.ref("base.user_admin").has_group("aigen_image.group_manager"))

    def test_the_bridges_user_is_in_one_group_only(self):
        robot = self.env.ref("aigen_image.user_bridge")
        groups = robot["group_ids" if "group_ids" in robot._fields else "groups_id"]
        self.assertEqual(groups, self.env.ref("aigen_image.group_bridge"))
