from odoo import api, fields, models
from odoo.exceptions import AccessError

VISIBILITIES = [
    ("private", "Only me"),
    ("shared", "These people and groups"),
    ("company", "Everybody in the company"),
]


class AigenShared(models.AbstractModel):
    """For what a person keeps private, shares with people and groups, or with the company.

    A model that inherits it has two record rules for users: read what `is_visible`, write what is one's own. Archiving
    ends the sharing, until it is restored.
    """

    _name = "aigen.shared"
    _description = "Shared with people, groups or the company"
    _inherit = ["aigen.named"]

    active = fields.Boolean(default=True)
    user_id = fields.Many2one(
        "res.users", "Owner", required=True, readonly=True, copy=False, default=lambda self: self.env.uid, index=True
    )
    company_id = fields.Many2one(
        "res.company", required=True, readonly=True, copy=False, default=lambda self: self.env.company
    )
    visibility = fields.Selection(VISIBILITIES, "Who sees it", required=True, default="private", copy=False)
    user_ids = fields.Many2many(
        "res.users", string="People", copy=False, domain=lambda self: self.env["res.users"]._aigen_people_domain()
    )
    group_ids = fields.Many2many("res.groups", string="Groups", copy=False)
    is_mine = fields.Boolean(compute="_compute_is_mine")
    is_visible = fields.Boolean(compute="_compute_is_visible", search="_search_is_visible")
    """Whether the user may see it, for record rules: evaluated for each search, because shares change."""

    @api.depends("user_id")
    @api.depends_context("uid")
    def _compute_is_mine(self):
        for record in self:
            record.is_mine = record.user_id == self.env.user

    @api.depends("active", "user_id", "company_id", "visibility", "user_ids", "group_ids")
    @api.depends_context("uid", "allowed_company_ids")
    def _compute_is_visible(self):
        visible = self.filtered_domain(self._visible_domain())
        for record in self:
            record.is_visible = record in visible

    @api.model
    def _search_is_visible(self, operator, value):
        """Both series ask whether it is true: 18 with `= True`, 19 with `in [True]`."""
        is_asked = (operator in {"=", "in"}) == bool(value)
        if operator not in {"=", "!=", "in", "not in"} or not is_asked:
            return NotImplemented
        return self._visible_domain()

    @api.model
    def _visible_domain(self):
        user = self.env.user
        is_mine = [("user_id", "=", user.id)]
        of_company = ["&", ("visibility", "=", "company"), ("company_id", "in", self.env.companies.ids)]
        to_me = ["|", ("user_ids", "in", user.ids), ("group_ids", "in", user._aigen_groups().ids)]
        with_me = ["|", *of_company, "&", ("visibility", "=", "shared"), *to_me]
        return ["|", *is_mine, "&", ("active", "=", True), *with_me]

    def write(self, vals):
        """Refuse to hand it over by hand, except to managers: whose it is decides who sees and changes it."""
        is_handed_over = not self.env.su and vals.keys() & {"user_id", "company_id"}
        if is_handed_over and not self.env.user.has_group("aigen_image.group_manager"):
            raise AccessError(self.env._("Only a manager of AI images can give it to somebody else."))
        return super().write(vals)
