from odoo.tests import HttpCase, new_test_user, tagged

from .common import payload, picture


@tagged("post_install", "-at_install")
class TestBoardTour(HttpCase):
    def test_a_board_is_shared_and_revoked(self):
        groups = "base.group_user,aigen_image.group_user"
        ann, bob = (new_test_user(self.env, f"aigen_{name}", groups=groups) for name in ("ann", "bob"))
        self.env["aigen.image.request"].search([]).active = False
        self.env["aigen.image.board"].search([]).unlink()
        model = self.env["aigen.image.model"].create({"name": "Photo"})
        requests = self.env["aigen.image.request"]
        record = requests.with_user(ann).create({"prompt": "A lighthouse at dusk", "model_id": model.id})
        robot = self.env.ref("aigen_image.user_bridge")
        requests.with_user(robot).bridge_apply_result(payload(record, content=picture(width=256, height=192)))
        address = f"/web/content/{record.attachment_id.id}"
        self.start_tour("/odoo", "aigen_board_share_tour", login="aigen_ann")
        board = self.env["aigen.image.board"].search([])
        self.assertEqual((board.user_id, board.user_ids, board.item_ids.request_id), (ann, bob, record))
        self.start_tour("/odoo", "aigen_board_seen_tour", login="aigen_bob")
        self.assertEqual(self.url_open(address).status_code, 200)
        self.start_tour("/odoo", "aigen_board_revoke_tour", login="aigen_ann")
        self.start_tour("/odoo", "aigen_board_gone_tour", login="aigen_bob")
        self.assertEqual(self.url_open(address).status_code, 404)
