"""Several pictures at once: variants of a prompt, the alternatives in it, and what became of all of them."""

from collections import defaultdict
from decimal import Decimal
from itertools import product

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..bridge.matrix import MOST, WrongMatrix, expand, literal
from ..bridge.money import amount_text
from .aigen_image_request import OPEN
from .aigen_image_request_again import MAYBE_PAID

VARIANTS = [(str(number), str(number)) for number in range(1, 9)]
MANY = 1000
"""Above this number of pictures, the error message does not say how many there would be."""


class AigenImageBatch(models.Model):
    """Pictures that were asked for with one action. Each of them is a request of its own."""

    _name = "aigen.image.batch"
    _description = "AI images asked for together"
    _inherit = ["aigen.named"]
    _order = "id desc"

    name = fields.Char(required=True, readonly=True)
    prompt = fields.Text(readonly=True)
    """As it was typed, with its alternatives."""
    variants = fields.Selection(VARIANTS, readonly=True)
    user_id = fields.Many2one("res.users", "Person", required=True, readonly=True, index=True)
    company_id = fields.Many2one("res.company", required=True, readonly=True)
    request_ids = fields.One2many("aigen.image.request", "batch_id", "Pictures", readonly=True)
    picture_count = fields.Integer("Pictures asked for", compute="_compute_counts")
    ready_count = fields.Integer("Ready", compute="_compute_counts")
    open_count = fields.Integer("Under way", compute="_compute_counts")
    failed_count = fields.Integer("Can be tried again", compute="_compute_counts")
    cost = fields.Char(compute="_compute_cost")

    @api.depends("request_ids.status", "request_ids.error_code", "request_ids.refusals", "request_ids.active")
    def _compute_counts(self):
        for batch in self:
            statuses = batch.request_ids.mapped("status")
            batch.picture_count = len(statuses)
            batch.ready_count = statuses.count("completed")
            batch.open_count = sum(status in OPEN for status in statuses)
            batch.failed_count = len(batch._failed())

    @api.depends("request_ids.status", "request_ids.cost_amount", "request_ids.cost_further", "request_ids.resolution")
    @api.depends_context("lang")
    def _compute_cost(self):
        """Booked costs, plus estimates for pictures under way. Amounts of different currencies are never added."""
        for batch in self:
            amounts, is_estimated = defaultdict(Decimal), False
            for request in batch.request_ids:
                found, is_exact = request._amounts()
                is_estimated |= bool(found) and not is_exact
                for currency, amount in found:
                    amounts[currency] += amount
            show = self.env["aigen.bridge"]._show_amount
            shown = (show(amount_text(amount), currency) for currency, amount in sorted(amounts.items()))
            cost = " + ".join(shown)
            batch.cost = self.env._("about %s", cost) if cost and is_estimated else cost

    def _failed(self):
        """Return those that are tried again in bulk: never what may have been paid for already."""
        failed = self.request_ids.filtered("can_try_again")
        return failed.filtered(lambda request: request.error_code != MAYBE_PAID)

    def get_formview_action(self, access_uid=None):
        """A batch has no form: its pictures are shown."""
        return self.action_open()

    def action_open(self):
        """Show the pictures that were asked for together."""
        self.ensure_one()
        self.check_access("read")
        action = self.env["ir.actions.act_window"]._for_xml_id("aigen_image.aigen_image_batch_action")
        return action | {"context": {"active_id": self.id, "aigen_batch_id": self.id, "create": False}}

    def action_cancel(self):
        """Withdraw all that are not ready."""
        self.request_ids.action_cancel()

    def action_try_again(self):
        """Ask again for those that failed."""
        self._failed().action_try_again()

    def action_more(self):
        """Open the same prompt and settings, to be asked for with new seeds."""
        self.ensure_one()
        first = self.with_context(active_test=False).request_ids.sorted("batch_place")[:1]
        if not first:
            raise UserError(self.env._("These pictures were deleted."))
        wishes = {"prompt": self.prompt, "variants": self.variants, "seed": first._new_seed()}
        return first._another(wishes, generate=False)

    @api.autovacuum
    def _gc_empty(self):
        """Delete what was typed for pictures that were all deleted."""
        self.with_context(active_test=False).search([("request_ids", "=", False)]).unlink()


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    variants = fields.Selection(VARIANTS, "How many", required=True, default="1", copy=False)
    matrix_prompts = fields.Json(compute="_compute_matrix")
    """The prompts, if it has alternatives."""
    matrix_error = fields.Char(compute="_compute_matrix")
    picture_count = fields.Integer("Pictures asked for", compute="_compute_matrix")
    estimated_total = fields.Char(compute="_compute_estimated_total")
    batch_id = fields.Many2one(
        "aigen.image.batch", "Asked for with", readonly=True, copy=False, index="btree_not_null", ondelete="set null"
    )
    batch_place = fields.Integer("Place among those asked for together", readonly=True, copy=False)
    can_try_again = fields.Boolean(compute="_compute_can_try_again")
    """It failed, and the same wishes may succeed."""

    @api.depends("prompt", "variants")
    def _compute_matrix(self):
        for record in self:
            variants = int(record.variants or 1)
            try:
                prompts, record.matrix_error = expand(record.prompt or "", variants), False
            except WrongMatrix as error:
                prompts, record.matrix_error = [], record._describe_wrong_matrix(error)
            record.matrix_prompts = len(prompts) > 1 and prompts
            record.picture_count = len(prompts) * variants

    def _describe_wrong_matrix(self, error):
        if error.reason == "too_many":
            many = self.env._("more than %s", MANY) if error.count > MANY else error.count
            return self.env._(
                "This would give %(many)s pictures. At most %(most)s are asked for at once.", many=many, most=MOST
            )
        return {
            "open": self.env._("A brace { is not closed. To use a brace as text, write \\{."),
            "closed": self.env._("A brace } was never opened. To use a brace as text, write \\}."),
            "nested": self.env._("Alternatives cannot be nested. To use a brace as text, write \\{."),
        }[error.reason]

    @api.depends("model_id", "resolution", "picture_count")
    @api.depends_context("lang")
    def _compute_estimated_total(self):
        for record in self:
            price = record._price_of_one()
            amount = price and amount_text(price[1] * max(record.picture_count, 1))
            record.estimated_total = amount and self._show_amount(amount, price[0])

    def _price_of_one(self):
        """Return what one picture is estimated to cost, as `(currency, amount)`, or None."""
        price = self.model_id._price()
        return (price.currency, price.of(self.resolution)) if price and self.resolution else None

    def _amounts(self):
        """Return what it costs, as `[(currency, amount)]`, and whether that is what was billed."""
        if self.cost_amount:
            further = [amount.split(" ") for amount in (self.cost_further or "").split(" + ") if amount]
            booked = [(self.cost_currency, self.cost_amount), *((currency, amount) for amount, currency in further)]
            return [(currency, Decimal(amount)) for currency, amount in booked], self.cost_basis != "estimated"
        price = self._price_of_one() if self.status in OPEN else None
        return [price] if price else [], False

    @api.depends("status", "error_code", "refusals", "refused")
    def _compute_can_try_again(self):
        for record in self:
            is_refused_draft = record.status == "draft" and record.error_code and not record.refusals
            record.can_try_again = (record.status == "failed" and not record.refused) or bool(is_refused_draft)

    @api.model
    def _editable_fields(self):
        return super()._editable_fields() | {"variants"}

    def _expand(self):
        """Turn each of these drafts into the pictures that its prompt and its variants ask for. Returns all of them."""
        return self.browse().union(*(record._expanded() for record in self))

    def _expanded(self):
        """Turn the draft into the first of its pictures, and create the others. A draft of one picture stays as it is.

        A variant has the same seed with every prompt, so that only the words make the difference.
        """
        if self.matrix_error:
            raise UserError(self.matrix_error)
        prompts = self.matrix_prompts or [self.prompt]
        seeds = [self.seed or self._new_seed(), *(self._new_seed() for _ in range(int(self.variants) - 1))]
        if len(prompts) * len(seeds) == 1:
            return self
        batch = self.batch_id or self._new_batch()
        wishes = [
            {"prompt": prompt, "seed": seed, "batch_id": batch.id, "batch_place": place}
            for place, (prompt, seed) in enumerate(product(prompts, seeds), self.batch_place)
        ]
        parent = self.sudo().parent_id  # people may not read it
        common = {"company_id": self.company_id.id, "parent_id": parent.id, "tag_ids": self.tag_ids.ids}
        person = self.with_user(self.user_id).sudo()
        [settings] = person.copy_data(common)
        others = person.create([settings | each for each in wishes[1:]])
        self.sudo().write(wishes[0] | {"variants": "1"})
        return self | others.with_env(self.env)

    def _new_batch(self):
        values = {name: self[name] for name in ("name", "prompt", "variants")}
        owner = {"user_id": self.user_id.id, "company_id": self.company_id.id}
        return self.env["aigen.image.batch"].sudo().create(values | owner)

    def action_try_again(self):
        """Ask again for what failed. The new one takes the place of the failed one, which is archived."""
        self.check_access("write")
        failed = self.filtered("can_try_again")
        if not failed:
            raise UserError(self.env._("None of these can be tried again."))
        again = failed.filtered(lambda record: record.status == "draft")
        for record in failed - again:
            again |= record._replace()
        again.filtered(lambda record: not record.refusals).action_generate()

    def _replace(self):
        """Return a new one of the same person in its place; none if somebody did so already, in another tab."""
        self._lock()
        if not self.active:
            return self.browse()
        person = self.with_user(self.user_id).sudo()
        changes = {"seed": self.seed, "company_id": self.company_id.id}
        another = self.browse(person._another(changes, generate=False)["res_id"])
        self._give_place(another)
        return another

    def _another(self, changes, *, generate):
        """Keep braces as they were sent, in prompts from before there were alternatives and placeholders."""
        if self.status != "draft" and (self.matrix_prompts or self.matrix_error or self.unfilled):
            changes = {"prompt": literal(self.prompt)} | changes
        return super()._another(changes, generate=generate)

    def action_change_words(self):
        """Where the content policy refused it, the owner's new one takes its place among those asked for together."""
        action = super().action_change_words()
        if self.batch_id and self.refused and self.active and self.user_id == self.env.user:
            self._give_place(self.browse(action["res_id"]))
        return action

    def _end(self, status, **details):
        """Show a picture that arrives after it had failed, also if another one has taken its place."""
        if status == "completed" and self.status == "failed":
            self.active = True
        return super()._end(status, **details)

    def _give_place(self, another):
        """Put another one in its place among those asked for together, and archive it."""
        values = {"batch_id": self.batch_id.id, "batch_place": self.batch_place, "tag_ids": self.tag_ids.ids}
        another.sudo().write(values)
        self.active = False
