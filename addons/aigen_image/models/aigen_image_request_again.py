"""What a person can do about a picture: know why there is none, download it, put a failed one back."""

import re
from urllib.parse import quote

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from ..bridge.client import OPS, Unreachable
from .aigen_image_request import OPEN

PAGES = 5
"""Pages of dead letters that are looked through for one request, at a bridge that cannot replay by its id."""

MAYBE_PAID = "maybe_paid"
"""The error code of a picture that may have been paid for. A person has it sent again knowingly, never in bulk."""

BRIDGE_FAILURES = frozenset(
    {
        "dispatch_failed",
        "execution_lost",
        "image_fetch_failed",
        "image_rejected",
        MAYBE_PAID,
        "timed_out",
        "workflow_failed",
    }
)
"""Error codes of the bridge. The AI service may use the same, so they count only where the bridge does not say more."""

POLICY_CODE = re.compile(r"policy|nsfw|safety|moderat", re.IGNORECASE)
"""Error codes of AI services that refuse the words or the picture, such as `content_policy_violation`."""


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    prompt_refusal = fields.Char(compute="_compute_refusals")
    negative_prompt_refusal = fields.Char(compute="_compute_refusals")
    model_id_refusal = fields.Char(compute="_compute_refusals")
    shape_refusal = fields.Char(compute="_compute_refusals")
    seed_refusal = fields.Char(compute="_compute_refusals")
    steps_refusal = fields.Char(compute="_compute_refusals")
    cfg_refusal = fields.Char(compute="_compute_refusals")

    @api.depends("refusals")
    def _compute_refusals(self):
        names = [name for name in self._fields if name.endswith("_refusal")]
        for record in self:
            for name in names:
                record[name] = (record.refusals or {}).get(name.removesuffix("_refusal"), False)

    @api.depends("status", "error_code")
    def _compute_replayable(self):
        for record in self:
            record.replayable = record.status == "failed" and record.error_code in BRIDGE_FAILURES

    @api.depends("status", "error_code")
    def _compute_refused(self):
        for record in self:
            record.refused = record.status == "failed" and bool(POLICY_CODE.search(record.error_code or ""))

    @api.depends("status", "error_code", "error_message", "held_since")
    @api.depends_context("lang", "uid")
    def _compute_explanation(self):
        for record in self:
            words = record._plain_words() if record.error_code or record.held_since else ""
            record.explanation = words or record.error_message or False

    def _plain_words(self):
        """Why it is not ready, for a person; empty where the message of the bridge says it best."""
        if self.held_since:
            return self.env._("The image service is away. Your picture will come.")
        if self.status == "waiting":
            return self._why_waiting()
        if (self.error_code or "").startswith("bridge_"):
            return self.env._("Odoo and the bridge disagree about this request. Please tell your administrator.")
        if self.refused and not self.error_message:
            return self.env._("The content policy of the image service does not allow it.")
        return {
            "dispatch_failed": self.env._("The image service did not take the request."),
            "execution_lost": self.env._("The image service lost this picture while it was being made."),
            MAYBE_PAID: self.env._(
                "This picture may have been made and paid for, but it did not arrive. "
                "Sending it again may cost a second time."
            ),
            "workflow_failed": self.env._("Something went wrong in the image service while it made this picture."),
            "timed_out": self.env._(
                "The image service did not answer in time. A picture that arrives late is still shown."
            ),
            "image_fetch_failed": self.env._("The picture was made, but it could not be fetched."),
            "image_rejected": self.env._("The picture that came was damaged, so it was not used."),
        }.get(self.error_code, "")

    def _why_waiting(self):
        if self.error_code == "forgotten":
            return self.env._("The bridge did not know it any more, so it is sent again.")
        return self._explain_unreachable(self.error_code, self.env.user)

    def action_download(self):
        """Give the picture as a file."""
        self.ensure_one()
        if not self.attachment_id:
            raise UserError(self.env._("There is no picture to download."))
        return {
            "type": "ir.actions.act_url",
            "url": f"/web/content/{self.attachment_id.id}?download=true",
            "target": "download",
        }

    def action_retrigger(self):
        """Have the bridge send failed ones again, where it can: not what the AI service refused.

        Those that may have been paid for are left out, unless the person has agreed (`aigen_may_pay_again`).
        """
        if not self.env.user.has_group("aigen_image.group_manager"):
            raise AccessError(self.env._("Only a manager of AI images can re-trigger."))
        self.check_access("write")
        failed = self.filtered("replayable")
        if not failed:
            raise UserError(self.env._("None of these can be sent again. “Generate again” asks for a new one."))
        if not self.env.context.get("aigen_may_pay_again"):
            failed = failed.filtered(lambda record: record.error_code != MAYBE_PAID)
        if not failed:
            raise UserError(self.env._("These may have been paid for already. Open one to have it sent again."))
        failed.with_context(aigen_asked_by=self.env.uid)._after_commit("_replay_all")

    # After the commit, as in `aigen_image_request_ask`.

    def _replay_all(self):
        statuses = []
        for record in self:
            bridge, path = record._apart("_place", patient=True, ops=True)
            try:
                answer = record._replay(bridge, path)
                record._apart("_settle_replay", answer)
                record._pull(bridge, path)
            except Unreachable as error:
                record._apart("_say_unreachable", error.reason)
                return
            statuses.append(answer.status)
        self._apart("_say_replayed", statuses)

    def _replay(self, bridge, path):
        """Have the request sent again, at an older bridge by its dead letter. Raises `Unreachable`."""
        answer = bridge.post(f"{OPS}/requests/{path.rpartition('/')[2]}/replay", {})
        if answer.status != 404 or answer.body.get("code") == "request_unknown":
            return answer
        letter = self._find_dead_letter(bridge)
        return bridge.post(f"{OPS}/dead-letters/{letter}/replay", {}) if letter else answer

    def _find_dead_letter(self, bridge):
        """The name of this request's dead letter, or None. Raises `Unreachable`."""
        cursor, mine = "", self._apart("_own_request_id")
        for _page in range(PAGES):
            answer = bridge.get(f"{OPS}/dead-letters?limit=200{cursor}")
            if answer.status != 200:
                raise Unreachable(f"http_{answer.status}")
            for letter in answer.body.get("items", ()):
                if letter.get("requestId") == mine:
                    return quote(str(letter["id"]), safe="")
            if not answer.body.get("nextCursor"):
                return None
            cursor = f"&cursor={quote(str(answer.body['nextCursor']))}"
        return None

    def _own_request_id(self):
        return self.exists().request_id

    def _settle_replay(self, answer):
        """Write down that it is under way again. Its clock starts here."""
        record = self._lock()
        if not record or answer.status != 200:
            return
        if answer.body.get("version"):  # an older bridge answers with the dead letter
            record._apply_resource(answer.body)
        user = self.env["res.users"].browse(self.env.context["aigen_asked_by"])
        record.message_post(body=self.env._("%s put it back at the bridge.", user.name))

    def _say_replayed(self, statuses):
        user, sent = self.env["res.users"].browse(self.env.context["aigen_asked_by"]), statuses.count(200)
        if len(statuses) > 1:
            words = self.env._("%(sent)s of %(all)s are on their way again.", sent=sent, all=len(statuses))
        else:
            words = self._describe_replay(statuses[0])
        self._tell_person(user, words, "success" if sent == len(statuses) else "warning")

    def _describe_replay(self, status):
        if status == 200 or self.exists().status in OPEN:
            return self.env._("It is on its way again.")
        if status in {401, 403}:
            return self.env._("Re-triggering needs a key with the scope “ops”. An administrator enters it.")
        return self.env._("The bridge has nothing to put back. “Generate again” asks anew.")
