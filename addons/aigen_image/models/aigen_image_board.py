from odoo import api, fields, models

from .series import Constraint


class AigenImageBoard(models.Model):
    """A collection of pictures. Whoever sees the board sees its pictures."""

    _name = "aigen.image.board"
    _description = "AI image board"
    _inherit = ["aigen.shared", "mail.thread"]
    _order = "sequence, id desc"

    name = fields.Char(required=True)
    description = fields.Text()
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    item_ids = fields.One2many("aigen.image.board.item", "board_id", "Pictures")
    cover_id = fields.Many2one("aigen.image.request", "Cover picture", ondelete="set null", copy=False)


class AigenImageBoardItem(models.Model):
    """A picture on a board, and its place there."""

    _name = "aigen.image.board.item"
    _description = "Picture on an AI image board"
    _order = "board_id, sequence, id"

    board_id = fields.Many2one("aigen.image.board", required=True, ondelete="cascade", index=True)
    request_id = fields.Many2one("aigen.image.request", "Picture", required=True, ondelete="cascade", index=True)
    sequence = fields.Integer(default=10)

    _once = Constraint("UNIQUE (board_id, request_id)", "This picture is on the board already.")


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    item_ids = fields.One2many("aigen.image.board.item", "request_id", "On boards", copy=False)
    board_ids = fields.Many2many("aigen.image.board", string="Boards", compute="_compute_board_ids", search="_search_board_ids")

    @api.depends("item_ids.board_id")
    @api.depends_context("uid", "allowed_company_ids")
    def _compute_board_ids(self):
        for record in self:
            boards = record.sudo().item_ids.board_id
            record.board_ids = boards.sudo(False)._filtered_access("read")

    @api.model
    def _search_board_ids(self, operator, value):
        return [("item_ids.board_id", operator, value)]
