from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from .series import Constraint

COVERS = 4
"""Pictures that stand for a board without a cover of its own."""
NEGATIONS = {"!=": "=", "not in": "in", "not ilike": "ilike"}


class AigenImageBoard(models.Model):
    """A collection of pictures. Whoever sees the board sees its pictures."""

    _name = "aigen.image.board"
    _description = "AI image board"
    _inherit = ["aigen.shared", "aigen.thread"]
    _order = "sequence, id desc"

    name = fields.Char(required=True)
    description = fields.Text()
    sequence = fields.Integer(default=10)
    others_add = fields.Boolean(
        "Others may add pictures", help="Whoever sees the board may put own pictures on it, and take them off again."
    )
    item_ids = fields.One2many("aigen.image.board.item", "board_id", "Pictures on it")
    cover_id = fields.Many2one("aigen.image.request", "Cover picture", ondelete="set null", copy=False)
    picture_count = fields.Integer("Pictures", compute="_compute_covers")
    covers = fields.Json(compute="_compute_covers")
    """The pictures that stand for it: the chosen one, or the first ones: `[{id, src}]`."""
    may_add = fields.Boolean(compute="_compute_may")
    may_edit = fields.Boolean(compute="_compute_may")

    @api.depends("cover_id", "item_ids.sequence", "item_ids.request_id.attachment_id", "item_ids.request_id.active")
    def _compute_covers(self):
        requests = self.env["aigen.image.request"].sudo()  # whoever sees a board sees its pictures
        found = {board_id: (ids, amount) for board_id, ids, amount in self._read_covers()}
        sources = requests.browse({one for ids, _amount in found.values() for one in ids})._small_sources()
        for board in self:
            ids, board.picture_count = found.get(board.id, ((), 0))
            has_cover = ids and ids[0] == board.cover_id.id
            board.covers = [{"id": one, "src": sources[one]} for one in ids[: 1 if has_cover else COVERS]]

    def _read_covers(self):
        """Return of each board its id, its first pictures, the cover before all, and how many it has. One query."""
        self.env.flush_all()
        self.env.cr.execute(
            SQL(
                """
                SELECT board_id, array_agg(id ORDER BY place), max(amount)
                FROM (
                    SELECT item.board_id, request.id,
                           count(*) OVER (PARTITION BY item.board_id) AS amount,
                           row_number() OVER (
                               PARTITION BY item.board_id
                               ORDER BY (request.id = board.cover_id) IS TRUE DESC, item.sequence, item.id
                           ) AS place
                    FROM aigen_image_board_item item
                    JOIN aigen_image_board board ON board.id = item.board_id
                    JOIN aigen_image_request request ON request.id = item.request_id
                    WHERE item.board_id IN %s AND request.active AND request.attachment_id IS NOT NULL
                ) picture
                WHERE place <= %s
                GROUP BY board_id
                """,
                tuple(self.ids) or (0,),
                COVERS,
            )
        )
        return self.env.cr.fetchall()

    @api.depends("user_id", "others_add")
    @api.depends_context("uid")
    def _compute_may(self):
        """Of a board that one sees."""
        is_manager = self.env.user.has_group("aigen_image.group_manager")
        for board in self:
            board.may_edit = board.is_mine or is_manager
            board.may_add = board.may_edit or board.others_add

    @api.model_create_multi
    def create(self, vals_list):
        boards = super().create(vals_list)
        for board in boards:
            board._tell(board._invited())
        return boards

    def write(self, vals):
        """Tell those with whom it is newly shared. That it is shared no longer is told to nobody."""
        before = {board: board._invited() for board in self}
        result = super().write(vals)
        for board, users in before.items():
            board._tell(board._invited() - users)
        return result

    def _invited(self):
        """Return the people with whom it is shared by name."""
        return self.user_ids if self.visibility == "shared" else self.user_ids.browse()

    def _tell(self, users):
        """Send a message, by each person's notification settings, to those who can see it now."""
        for user in users.sudo() - self.env.user:
            if self._is_seen_by(user):
                board = self.sudo().with_context(lang=user.lang)  # Odoo refuses people without an e-mail address
                facts = {"person": self.env.user.name, "board": self.name}
                board.message_notify(
                    partner_ids=user.partner_id.ids,
                    subject=board.env._("%(person)s shared the board “%(board)s” with you", **facts),
                    body=board.env._("%(person)s shared the board “%(board)s” with you.", **facts),
                    email_layout_xmlid="mail.mail_notification_layout",
                    model_description=board.env._("Board"),
                )

    def action_open(self):
        """Show its pictures."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("aigen_image.aigen_image_board_action_pictures")
        return action | {
            "name": self.name,
            "display_name": self.name,
            "domain": [("item_ids.board_id", "=", self.id)],
            "context": {"active_id": self.id, "active_model": self._name, "aigen_board_id": self.id},
        }

    def action_pick(self):
        """Show the person's pictures that are not on it yet, to choose some."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("aigen_image.aigen_image_request_action")
        name = self.env._("Add pictures")
        return action | {
            "name": name,
            "display_name": name,
            "domain": [
                ("user_id", "=", self.env.uid),
                ("attachment_id", "!=", False),
                "!",
                ("item_ids.board_id", "=", self.id),
            ],
            "context": {"aigen_pick_board": {"id": self.id, "name": self.name}},
        }

    def add_pictures(self, request_ids):
        """Put pictures at its end, once each. Returns how many were not on it yet."""
        self.ensure_one()
        self.check_access("read")
        items = self.env["aigen.image.board.item"].sudo().search([("board_id", "=", self.id)])
        place = max(items.mapped("sequence"), default=0)
        new = self.env["aigen.image.request"].browse(request_ids).exists() - items.request_id
        self.env["aigen.image.board.item"].create(
            [
                {"board_id": self.id, "request_id": request.id, "sequence": place + number}
                for number, request in enumerate(new, 1)
            ]
        )
        return len(new)

    def remove_pictures(self, request_ids):
        """Take pictures off it. They stay where else they are."""
        self.item_ids.filtered(lambda item: item.request_id.id in request_ids).unlink()

    def set_cover(self, request_id):
        """Let a picture of the board stand for it."""
        if request_id not in self.item_ids.request_id.ids:
            raise UserError(self.env._("This picture is not on the board."))
        self.cover_id = request_id


class AigenImageBoardItem(models.Model):
    """A picture on a board, and its place there.

    By the record rules, people put on boards only what is their own: whoever sees a board sees its pictures.
    """

    _name = "aigen.image.board.item"
    _description = "Picture on an AI image board"
    _order = "board_id, sequence, id"
    _check_company_auto = True

    board_id = fields.Many2one(
        "aigen.image.board",
        required=True,
        ondelete="cascade",
        index=True,
        group_expand="_group_expand_boards",
    )
    request_id = fields.Many2one(
        "aigen.image.request", "Picture", required=True, ondelete="cascade", index=True, check_company=True
    )
    company_id = fields.Many2one(related="board_id.company_id")
    sequence = fields.Integer(default=10)
    name = fields.Char("Name", related="request_id.display_name")
    source = fields.Char(compute="_compute_source")

    _once = Constraint("UNIQUE (board_id, request_id)", "This picture is on the board already.")

    @api.depends("request_id.thumbnail", "request_id.attachment_id")
    def _compute_source(self):
        sources = self.request_id.sudo()._small_sources()
        for item in self:
            item.source = sources.get(item.request_id.id)

    def write(self, vals):
        """Whoever moves a picture to another board puts it there: the same rules hold as for a new one."""
        result = super().write(vals)
        if vals.keys() & {"board_id", "request_id"}:
            self.check_access("create")
        return result

    def action_open(self):
        """Show the picture large."""
        return self.request_id.get_formview_action()

    def action_set_cover(self):
        self.board_id.set_cover(self.request_id.id)

    @api.model
    def _group_expand_boards(self, boards, _domain):
        """Show one's own empty boards, too."""
        return boards | boards.search([("user_id", "=", self.env.uid)])


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    item_ids = fields.One2many("aigen.image.board.item", "request_id", "On boards", copy=False)
    board_ids = fields.Many2many(
        "aigen.image.board", string="Boards", compute="_compute_board_ids", search="_search_board_ids"
    )
    may_take_off = fields.Boolean(compute="_compute_may_on_board")
    may_set_cover = fields.Boolean(compute="_compute_may_on_board")
    """Of the board whose gallery is looked at."""

    @api.depends("item_ids.board_id")
    @api.depends_context("uid", "allowed_company_ids")
    def _compute_board_ids(self):
        for record in self:
            boards = record.sudo().item_ids.board_id
            record.board_ids = boards.sudo(False)._filtered_access("read")

    @api.depends("user_id")
    @api.depends_context("uid", "aigen_board_id")
    def _compute_may_on_board(self):
        board = self.env["aigen.image.board"].sudo().browse(self.env.context.get("aigen_board_id")).exists()
        for record in self:
            record.may_set_cover = board.may_edit
            record.may_take_off = board.may_edit or (board and record.user_id == self.env.user)

    @api.model
    def _search_board_ids(self, operator, value):
        if operator in NEGATIONS:
            return ["!", ("item_ids.board_id", NEGATIONS[operator], value)]
        return [("item_ids.board_id", operator, value)]

    def _order_to_sql(self, order, query, alias=None, reverse=False):  # noqa: FBT002 - as Odoo has it
        """In a board's gallery pictures have the board's order."""
        usual = super()._order_to_sql(order, query, alias, reverse)
        board_id = self.env.context.get("aigen_board_id")
        if not board_id or order != self._order or reverse:
            return usual
        self.env["aigen.image.board.item"].flush_model(["board_id", "request_id", "sequence"])
        place = SQL(
            "(SELECT ARRAY[sequence, id] FROM aigen_image_board_item WHERE board_id = %s AND request_id = %s)",
            board_id,
            SQL.identifier(alias or self._table, "id"),
        )
        return SQL("%s, %s", place, usual)

    def _small_sources(self):
        """Return where the small copies are, for galleries: id → address. Those without a picture have none."""
        sources = {}
        for record in self.with_context(bin_size=True):
            if file := record.attachment_id:
                place = f"{record._name}/{record.id}/thumbnail" if record.thumbnail else f"{file.id}/512x512"
                sources[record.id] = f"/web/image/{place}?unique={(record.image_sha256 or '')[:8]}"
        return sources

    def action_add_to_board(self):
        """Ask which board to put these on."""
        self.check_access("read")
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Add to board"),
            "res_model": "aigen.image.board.add",
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_request_ids": self.ids},
        }
