import random

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError

from ..bridge.sizes import SIZES
from ..bridge.text import shows_nothing
from .aigen_bridge import new_uuid
from .series import Constraint

STATUSES = [
    ("draft", "New"),
    ("waiting", "Waiting to be sent"),
    ("queued", "In the queue"),
    ("dispatched", "Being made"),
    ("received", "On its way"),
    ("completed", "Ready"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
]
OPEN = ("waiting", "queued", "dispatched", "received")
UNDERWAY = ("queued", "dispatched", "received")
"""The bridge has it."""

SHAPES = [
    ("1:1", "Square (1:1)"),
    ("4:3", "Landscape (4:3)"),
    ("3:2", "Photo, landscape (3:2)"),
    ("16:9", "Wide (16:9)"),
    ("21:9", "Cinema (21:9)"),
    ("3:4", "Portrait (3:4)"),
    ("2:3", "Photo, portrait (2:3)"),
    ("9:16", "Story (9:16)"),
]
DETAILS = [("preview", "Quick preview"), ("standard", "Standard"), ("large", "Large")]
NEGATIVE_PROMPT_USES = [
    ("used", "Used"),
    ("folded", "Said as part of the prompt"),
    ("ignored", "Not used: the model does not know it"),
]
COST_BASES = [("billed", "Billed"), ("estimated", "Estimated")]

PARAMETERS = frozenset({"prompt", "negative_prompt", "model_id", "shape", "detail", "seed", "steps", "cfg"})
"""What a person decides, as long as the request is new."""

WIRE_NAMES = {
    "prompt": "prompt",
    "negativePrompt": "negative_prompt",
    "modelId": "model_id",
    "resolution": "shape",
    "aspectRatio": "shape",
    "seed": "seed",
    "inferenceSteps": "steps",
    "cfgScale": "cfg",
}
"""The fields of EVT-AIG-001, and where a person finds them here."""

PROMPT_MAX = 4000
SEED_MAX = 2**31 - 1
USUAL_SECONDS = 15
"""How long a picture takes, as long as there is no experience with its model."""


def one_of(offered, wanted, usual):
    """Return what is wanted if it is offered, or what is usual, or the first that is offered."""
    offered = list(offered or ())
    return next((each for each in (wanted, usual) if each in offered), offered[0] if offered else wanted or usual)


class AigenImageRequest(models.Model):
    """One picture that a person asked for: a mirror of what the bridge knows, for people to look at."""

    _name = "aigen.image.request"
    _description = "AI image"
    _inherit = ["aigen.named", "aigen.thread", "mail.activity.mixin", "aigen.bridge"]
    _order = "id desc"

    name = fields.Char(compute="_compute_name", store=True)
    active = fields.Boolean(default=True)
    request_id = fields.Char("Request UUID", required=True, readonly=True, copy=False, index=True, default=new_uuid)
    correlation_id = fields.Char("Correlation UUID", required=True, readonly=True, copy=False, default=new_uuid)
    user_id = fields.Many2one(
        "res.users", "Person", required=True, readonly=True, copy=False, default=lambda self: self.env.uid, index=True
    )
    company_id = fields.Many2one(
        "res.company", required=True, readonly=True, copy=False, default=lambda self: self.env.company
    )

    prompt = fields.Text(required=True)
    negative_prompt = fields.Text(help="What must not be in the picture. Not every model listens to it.")
    model_id = fields.Many2one(
        "aigen.image.model", required=True, ondelete="restrict", default=lambda self: self._default_model()
    )
    shape = fields.Selection(
        SHAPES, required=True, compute="_compute_shape", store=True, readonly=False, precompute=True
    )
    detail = fields.Selection(
        DETAILS, required=True, compute="_compute_detail", store=True, readonly=False, precompute=True
    )
    resolution = fields.Char(compute="_compute_resolution", store=True)
    seed = fields.Integer(
        default=lambda self: self._new_seed(),
        copy=False,
        aggregator=None,
        help="The same seed and settings give the same picture again. 0: a new one is drawn.",
    )
    steps = fields.Integer(
        compute="_compute_defaults",
        store=True,
        readonly=False,
        aggregator=None,
        help="More take longer. 0: the AI service decides.",
    )
    cfg = fields.Float(
        "Guidance",
        digits=(4, 2),
        compute="_compute_defaults",
        store=True,
        readonly=False,
        aggregator=None,
        help="How closely the picture follows the words. 0: the AI service decides.",
    )

    status = fields.Selection(STATUSES, required=True, readonly=True, copy=False, default="draft", index=True)
    version = fields.Integer(
        readonly=True, copy=False, aggregator=None, help="The last news of the bridge that is known here."
    )
    error_code = fields.Char(readonly=True, copy=False)
    error_message = fields.Text(readonly=True, copy=False)
    explanation = fields.Char(compute="_compute_explanation")
    replayable = fields.Boolean("Can be sent again", compute="_compute_replayable", store=True, copy=False)
    """The bridge failed it, and can send it again. Computed only where the bridge does not say: an older one."""
    refused = fields.Boolean("Refused by content policy", compute="_compute_refused")
    refusals = fields.Json(readonly=True, copy=False)
    """Why the bridge did not take it: field here → its words."""
    log = fields.Json(readonly=True, copy=False)
    """The bridge's timeline, as it was when it was last read."""
    requested_at = fields.Datetime("Requested", readonly=True, copy=False)
    started_at = fields.Datetime("Started", readonly=True, copy=False)
    """When it last entered the queue or went on after a hold: progress is counted from here."""
    held_since = fields.Datetime("Waiting for the image service since", readonly=True, copy=False)
    """Set while the bridge holds the request because N8N is away. The status stays what it was."""
    progress = fields.Json(readonly=True, copy=False)
    """How far the AI service is: `{stage, queuePosition?, percent?}`. Set only while the status is "Being made"."""
    resent = fields.Integer("Sent to N8N again", readonly=True, copy=False)
    """How often the bridge sent it again because N8N had lost it, since the request was made or a person sent it."""
    finished_at = fields.Datetime("Finished", readonly=True, copy=False)
    elapsed = fields.Float("Seconds so far", digits=(8, 1), compute="_compute_elapsed")
    expected = fields.Float("Usual seconds", compute="_compute_expected")
    attachment_id = fields.Many2one("ir.attachment", "Picture", readonly=True, copy=False, ondelete="set null")
    image_sha256 = fields.Char("SHA-256", readonly=True, copy=False)
    image_size = fields.Integer("Bytes", readonly=True, copy=False)
    image_format = fields.Char("Format", readonly=True, copy=False)

    # How the picture was made, as the AI service reported. Empty where it reported nothing.
    provider = fields.Char("AI service", readonly=True, copy=False)
    provider_model = fields.Char("Model used", readonly=True, copy=False)
    provider_job = fields.Char("Job", readonly=True, copy=False)
    seed_used = fields.Char("Seed used", readonly=True, copy=False, help="The seed that gave this picture.")
    """A text: seeds of AI services have up to 63 bits, and browsers round such numbers."""
    made_in = fields.Float("Made in, seconds", readonly=True, copy=False, aggregator="avg")
    negative_prompt_use = fields.Selection(NEGATIVE_PROMPT_USES, "What must not be in it", readonly=True, copy=False)
    is_nsfw = fields.Boolean("Marked as not safe for work", readonly=True, copy=False)
    cost_amount = fields.Char(readonly=True, copy=False)
    """A decimal text, as exact as the bill."""
    cost_currency = fields.Char("Currency", readonly=True, copy=False)
    cost_basis = fields.Selection(COST_BASES, readonly=True, copy=False)
    cost_further = fields.Char(readonly=True, copy=False)
    """The amounts booked in other currencies, such as `1.50 EUR + 2.00 GBP`. Sums have `cost_amount` only."""
    cost = fields.Char(compute="_compute_cost")
    cost_value = fields.Float(
        "Costs", digits=(16, 9), compute="_compute_cost_value", store=True, help="In the currency of each picture."
    )
    """For sums. As exact as the bridge's amounts: a currency's rounding would lose parts of each picture."""

    _request_id_unique = Constraint("UNIQUE (request_id)", "This request is known already.")
    _seed_natural = Constraint("CHECK (seed >= 0)", "A seed is a whole number from 0.")
    _steps_range = Constraint("CHECK (steps BETWEEN 0 AND 100)", "Steps are a whole number from 0 to 100.")
    _cfg_range = Constraint("CHECK (cfg BETWEEN 0 AND 35)", "Guidance is a number from 0 to 35.")

    @api.model
    def _default_model(self):
        return self.env["aigen.image.model"].search([], limit=1)

    @api.model
    def _new_seed(self):
        return random.randint(1, SEED_MAX)  # noqa: S311 - it is no secret

    @api.depends("prompt")
    def _compute_name(self):
        for record in self:
            words = " ".join((record.prompt or "").split())
            record.name = words if len(words) <= 60 else words[:59].rstrip() + "…"

    @api.depends("model_id")
    def _compute_shape(self):
        """A shape that the model does not offer becomes one that it does."""
        for record in self:
            record.shape = one_of(record.model_id._sizes(), record.shape, "1:1")

    @api.depends("model_id", "shape")
    def _compute_detail(self):
        for record in self:
            record.detail = one_of(record.model_id._sizes().get(record.shape), record.detail, "standard")

    @api.depends("model_id", "shape", "detail")
    def _compute_resolution(self):
        for record in self:
            of_model, of_any = (sizes.get(record.shape, {}) for sizes in (record.model_id._sizes(), SIZES))
            record.resolution = of_model.get(record.detail) or of_any.get(record.detail, False)

    @api.depends("model_id")
    def _compute_defaults(self):
        for record in self:
            record.steps = record.model_id.steps
            record.cfg = record.model_id.cfg

    @api.depends("started_at", "requested_at", "finished_at")
    def _compute_elapsed(self):
        """By the server's clock: the browser's may be wrong, and only counts on from here."""
        now = fields.Datetime.now()
        for record in self:
            since = record.started_at or record.requested_at
            record.elapsed = ((record.finished_at or now) - since).total_seconds() if since else 0

    @api.depends("model_id")
    def _compute_expected(self):
        usual = self._usual_seconds()
        for record in self:
            record.expected = usual.get(record.model_id.id, USUAL_SECONDS)

    def _usual_seconds(self):
        """Return the median of the last pictures of each model, whoever asked for them: model id → seconds."""
        self.env["aigen.image.request"].flush_model()
        self.env.cr.execute(
            """
            SELECT model.id, PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY recent.seconds)
            FROM UNNEST(%s) AS model (id)
            CROSS JOIN LATERAL (
                SELECT EXTRACT(EPOCH FROM finished_at - COALESCE(started_at, requested_at)) AS seconds
                FROM aigen_image_request
                WHERE model_id = model.id AND status = 'completed'
                ORDER BY id DESC
                LIMIT 20
            ) AS recent
            GROUP BY model.id
            """,
            [self.model_id.ids],
        )
        return dict(self.env.cr.fetchall())

    @api.depends("cost_amount", "cost_currency", "cost_basis", "cost_further")
    @api.depends_context("lang")
    def _compute_cost(self):
        for record in self:
            cost = record.cost_amount and self._show_amount(record.cost_amount, record.cost_currency)
            if record.cost_further:
                cost += f" + {self._show_amount(record.cost_further)}"
            is_estimated = cost and record.cost_basis == "estimated"
            record.cost = self.env._("%s (estimated)", cost) if is_estimated else cost

    @api.depends("cost_amount")
    def _compute_cost_value(self):
        for record in self:
            record.cost_value = float(record.cost_amount or 0)

    @api.constrains("prompt", "negative_prompt")
    def _check_texts(self):
        for record in self:
            if shows_nothing(record.prompt):
                raise ValidationError(self.env._("Say what the picture should show."))
            if max(len(record.prompt), len(record.negative_prompt or "")) > PROMPT_MAX:
                raise ValidationError(self.env._("A text may have at most %s characters.", PROMPT_MAX))

    @api.model
    def _editable_fields(self):
        """Fields that a person may write as long as the request is new."""
        return PARAMETERS

    @api.model
    def _curated_fields(self):
        """Fields that a person may write whatever the status is."""
        return frozenset({"active"})

    @api.model_create_multi
    def create(self, vals_list):
        """Whoever creates a request decides what the picture shows, and neither whose it is nor its state."""
        if self.env.su:
            return super().create(vals_list)
        for vals in vals_list:
            self._refuse_protected(vals)
        allowed = self._editable_fields() | self._curated_fields()
        protected = {f"default_{name}" for name in self._fields.keys() - allowed}
        context = {key: value for key, value in self.env.context.items() if key not in protected}
        return super(AigenImageRequest, self.with_context(context)).create(vals_list)  # pylint: disable=context-overridden

    def write(self, vals):
        """Refuses fields that people may not write. A new status ends a hold and the progress: the request moved on."""
        if not self.env.su:
            self._refuse_protected(vals)
            if vals.keys() & self._editable_fields() and any(record.status != "draft" for record in self):
                raise UserError(
                    self.env._("This picture was asked for already. “Edit prompt” opens its settings for another one.")
                )
        if "status" not in vals:
            return super().write(vals)
        result = super().write({"held_since": False, "progress": False} | vals)
        for record in self:
            record._show_news()
        return result

    @api.model
    def _refuse_protected(self, vals):
        allowed = self._editable_fields() | self._curated_fields()
        of_mail = ("message_", "activity_")
        refused = sorted(name for name in vals if name not in allowed and not name.startswith(of_mail))
        if refused:
            raise AccessError(self.env._("These fields are not written by hand: %s.", ", ".join(refused)))

    @api.ondelete(at_uninstall=False)
    def _unlink_only_ended(self):
        if any(record.status in UNDERWAY for record in self):
            raise UserError(self.env._("A picture is still being made. Cancel it, then delete it."))
