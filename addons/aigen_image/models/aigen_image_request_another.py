"""Going on from a picture: another one with its settings, and which picture was made from which."""

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import NO_ACCESS

from .aigen_image_request import DETAILS, OPEN, SEED_MAX

CHILDREN_SHOWN = 12


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    # Read through `lineage` only: the name of a picture has words of its prompt, and a reference shows it to everybody.
    parent_id = fields.Many2one(
        "aigen.image.request",
        "Made from",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
        groups=NO_ACCESS,
    )
    child_ids = fields.One2many("aigen.image.request", "parent_id", "Made from it", readonly=True, groups=NO_ACCESS)
    lineage = fields.Json(compute="_compute_lineage")
    """What it was made from, and what was made from it: `{parent?, children, more}`. A parent without an id is one
    that the person may not see."""
    larger = fields.Char(compute="_compute_larger")
    """The next larger resolution that the model offers; empty where there is none, or no seed to keep."""

    @api.depends("parent_id", "child_ids.status")
    @api.depends_context("uid", "allowed_company_ids")
    def _compute_lineage(self):
        for record in self:
            parent, children = record.sudo().parent_id, record.sudo().child_ids
            shown = children.filtered(lambda child: child.status in (*OPEN, "completed"))
            shown = shown.sudo(False)._filtered_access("read")
            lineage = {
                "children": shown[:CHILDREN_SHOWN]._describe_relatives(),
                "more": max(0, len(shown) - CHILDREN_SHOWN),
            }
            if parent:
                described = parent.sudo(False)._filtered_access("read")._describe_relatives()
                lineage["parent"] = described[0] if described else {}
            record.lineage = lineage

    def _describe_relatives(self):
        sources = self._small_sources()
        return [{"id": one.id, "name": one.name, "status": one.status, "source": sources.get(one.id)} for one in self]

    @api.depends("model_id", "shape", "detail")
    def _compute_larger(self):
        for record in self:
            detail = record._larger_detail() if record.takes_seed and not record.model_id.is_withdrawn else None
            record.larger = record.model_id._sizes()[record.shape][detail] if detail else False

    def _larger_detail(self):
        """Return the next larger detail that the model offers in this shape, or None."""
        offered = self.model_id._sizes().get(self.shape, ())
        names = [name for name, _label in DETAILS]
        larger = names[names.index(self.detail) + 1 :] if self.detail in names else ()
        return next((name for name in larger if name in offered), None)

    def action_generate_again(self):
        """Ask for another one with the same settings, and a new seed."""
        return self._another({"seed": self._new_seed()}, generate=True)

    def action_vary(self):
        """The same for a picture that is there."""
        return self.action_generate_again()

    def action_change_words(self):
        """The same settings with a new seed, to say in other words what it should show."""
        return self._another({"seed": self._new_seed()}, generate=False)

    def action_same_seed(self):
        """The same settings and the seed that gave the picture, to see what other words do to it."""
        return self._another({"seed": self._seed_of_picture()}, generate=False)

    def action_larger(self):
        """Ask for the same picture in the next larger size that the model offers."""
        self.ensure_one()
        if not self.larger:
            raise UserError(self.env._("The model “%s” offers no larger size of this shape.", self.model_id.name))
        changes = {"seed": self._seed_of_picture(), "detail": self._larger_detail()}
        return self._another(changes, generate=True)

    def _seed_of_picture(self):
        seed = int(self.seed_used or self.seed)
        if not 0 < seed <= SEED_MAX:  # 0 would draw a new one
            raise UserError(
                self.env._(
                    "The AI service used the seed %(seed)s for this picture. Odoo can ask for seeds from 1 to "
                    "%(limit)s only. “Vary” keeps the other settings.",
                    seed=seed,
                    limit=SEED_MAX,
                )
            )
        return seed

    def _another(self, changes, *, generate):
        """Open another one of the person. Who may read a picture may go on from it.

        It is not asked for if a setting is no longer offered: the person looks at it first.
        """
        self.ensure_one()
        values, words = self._offered_instead()
        another = self.copy({"active": True} | changes | values)
        another.sudo().parent_id = self if self.attachment_id else self.sudo().parent_id
        if words:
            another.sudo().refusals = words
        elif generate:
            another.action_generate()
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            "res_id": another.id,
            "views": [(False, "form")],
            "target": "current",
        }
