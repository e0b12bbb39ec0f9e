"""Odoo → bridge: ask for a picture, withdraw it, ask how it stands. Never inside a transaction."""

import logging
from datetime import timedelta
from threading import Thread

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.modules import module

from ..bridge.client import REQUESTS, Unreachable
from ..bridge.matrix import plain
from ..bridge.money import read_exceeded
from ..bridge.result import WrongResult, read_state
from ..bridge.text import refusal_words
from .aigen_image_request import OPEN, UNDERWAY, WIRE_NAMES

_logger = logging.getLogger(__name__)

BATCH = 100
"""Also the most requests that the bridge is asked about with one call."""
SINGLY = 10
"""Pictures about which a view has an older bridge asked: one call each."""
RETRY_AFTER = timedelta(minutes=1)
NOT_OF_ONE_REQUEST = frozenset({401, 403, 404, 408, 425, 429})
"""Client errors that come from the key, the address or the load. The request waits, and is sent again as it is."""
OF_ALL_REQUESTS = frozenset({401, 429})
"""After these, the next request would get the same answer. After any other client error the next one is tried."""
BUGS = frozenset({400, 409, 413, 415})
"""Client errors that Odoo never should cause. Sending the request again would change nothing."""
BOOKED_WITHIN = timedelta(days=2)
"""For so long after its end, what was booked for a picture is read again: a late report corrects an estimate."""
OLD = timedelta(hours=1)
"""An open request that was not heard of for so long is asked about by the daily cron."""


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    def action_generate(self):
        """Ask for the pictures. They are asked for once, however often and in however many tabs this is pressed.

        One with variants or alternatives becomes several. Returns the view of those that are asked for together.
        """
        self.check_access("write")
        self._check_configured()
        for record in self:
            record._lock()
        new = self.filtered(lambda record: record.status == "draft")._expand()
        for record in new.sudo():
            record.user_id._get_aigen_uuid()
            record._compute_resolution()  # the model may offer other sizes since the shape was chosen
            record.write(
                {
                    "status": "waiting",
                    "seed": record.seed or self._new_seed(),
                    "requested_at": fields.Datetime.now(),
                    "error_code": False,
                    "error_message": False,
                    "refusals": False,
                }
            )
        new._after_commit("_push_meanwhile" if len(new.filtered("batch_id")) > 1 else "_push_all")
        return self.batch_id.action_open() if len(self.batch_id) == 1 else None

    def action_cancel(self):
        """Withdraw the pictures. One that N8N has finished meanwhile is kept: paid work is not thrown away."""
        self.check_access("write")
        running = self.filtered(lambda record: record.status in OPEN)
        running.sudo().write({"status": "cancelled", "finished_at": fields.Datetime.now()})
        running._after_commit("_withdraw_all")

    def action_refresh(self):
        """Send what waits to be sent, ask the bridge how the others stand, and say what came out."""
        self.check_access("read")
        asked = self.filtered(lambda record: record.status != "draft")
        if not asked:
            raise UserError(self.env._("A new picture has nothing to refresh. “Generate” asks for it."))
        asked.with_context(aigen_asked_by=self.env.uid)._after_commit("_refresh_all")

    def action_follow(self, log_ids=()):
        """Ask how these stand, for views that are being looked at. What changed comes as news; no news is no trouble.

        `log_ids`: those whose log is being looked at. Returns whether the bridge could be reached the last time.
        """
        records = self.exists()._filtered_access("read")  # one that is no longer shared hinders no other
        if not records:
            self.exists().check_access("read")
        records = records.filtered(lambda record: record.status != "draft")
        records._after_commit("_pull_all", singly=SINGLY, log_ids=log_ids)
        return not self.sudo()._bridge().is_away

    @api.model
    def _cron_push(self):
        """Send what is waiting to be sent, with the ids that it has had from the start. What was tried goes last."""
        waiting = self.search([("status", "=", "waiting")], order="write_date, id", limit=BATCH)
        waiting._after_commit("_push_all", patient=True)

    @api.model
    def _cron_reconcile(self):
        """Ask about requests that are old and still open: the bridge may not have reached Odoo."""
        before = fields.Datetime.now() - OLD
        lost = self.search([("status", "in", UNDERWAY), ("write_date", "<", before)], order="write_date", limit=BATCH)
        lost._after_commit("_pull_all", patient=True)

    @api.model
    def _cron_costs(self):
        """Ask what was booked for pictures that ended lately: a result has what was reported only.

        One whose file was removed is left out, because the answer would bring it again. Archived ones cost, too.
        """
        since = fields.Datetime.now() - BOOKED_WITHIN
        has_ended = ["|", ("attachment_id", "!=", False), ("status", "in", ("failed", "cancelled"))]
        domain = [("finished_at", ">=", since), ("version", ">", 0), *has_ended]
        self.with_context(active_test=False).search(domain)._after_commit("_pull_all", patient=True, singly=0)

    # After the commit: no transaction is open, each `_apart` is one.

    def _push_meanwhile(self):
        """Send these while the person goes on, who would wait seconds for many.

        If the process ends before, those that still wait to be sent are sent by the cron.
        """
        if module.current_test:  # other threads do not see what a test wrote
            self._push_all()
        else:
            Thread(target=self._push_all, name="aigen_image.push", daemon=True).start()

    def _push_all(self, *, patient=False):
        """Send these, one after another. One whose answer cannot be written down does not hinder the others."""
        for record in self:
            try:
                goes_on = record._push(patient=patient)
            except Exception:
                _logger.exception("Sending %s failed; it is tried again later", record)
                continue
            if not goes_on:
                return

    def _push(self, *, patient):
        """Send one request. False: the bridge is away, the others need not be tried now."""
        sending = self._apart("_to_send", patient=patient)
        if not sending:
            return True  # somebody else sent or withdrew it, or it is gone
        bridge, event = sending
        try:
            answer = bridge.post(REQUESTS, event, correlation_id=event["correlationId"])
            goes_on = self._apart("_settle_push", answer)
            if answer.body.get("status") == "completed":  # the answer to an earlier try was lost, and time has passed
                self._pull(bridge, f"{REQUESTS}/{event['requestId']}")
        except Unreachable as error:
            self._apart("_keep_waiting", error.reason, 0)
            return False
        return goes_on

    def _to_send(self, *, patient):
        """What to send where, or None when there is nothing to send any more."""
        record = self.exists()
        if record.status != "waiting":
            return None
        return self._bridge(patient=patient), record._event()

    def _event(self):
        """EVT-AIG-001. What is left to the AI service is left out."""
        self.ensure_one()
        event = {
            "requestId": self.request_id,
            "correlationId": self.correlation_id,
            "userId": self.user_id._get_aigen_uuid(),
            "prompt": plain(self.prompt),
            "negativePrompt": (self.takes_negative_prompt and self.negative_prompt) or None,
            "modelId": self.model_id.uuid,
            "resolution": self.resolution,
            "aspectRatio": self.shape,
            "seed": self.seed,
            "inferenceSteps": self.steps or None,
            "cfgScale": self.cfg or None,
        }
        return {name: value for name, value in event.items() if value is not None}

    def _settle_push(self, answer):
        """Write down what the bridge said. False: it can take nothing at the moment.

        A client error is about this request, or lasts: what was asked for later does not wait behind it.
        """
        record, is_refusal = self._lock(), 400 <= answer.status < 500
        if not record:
            return True
        match answer.status:
            case 200 | 202 if answer.body.get("requestId") == record.request_id:
                if record.status == "waiting":
                    record.version = 0  # the bridge may have forgotten it and count from 1 again
                record._apply_resource(answer.body)
                if record.status == "waiting":
                    record._advance("received", 0)  # it is ready there, and its picture follows: not sent again
            case _ if record.status != "waiting":
                pass  # withdrawn meanwhile
            case status if answer.is_bridge and status in BUGS:
                record._report_bug(answer)
            case status if answer.is_bridge and is_refusal and status not in NOT_OF_ONE_REQUEST:
                record._show_refusal(answer)
            case status:
                record._keep_waiting(f"http_{status}" if answer.is_bridge else "stranger", answer.retry_after)
                return is_refusal and status not in OF_ALL_REQUESTS
        return True

    def _keep_waiting(self, reason, retry_after):
        """The record says why, the cron goes on trying."""
        record = self._lock()
        if record.status != "waiting":
            return
        is_news = record.error_code != reason
        record.write({"error_code": reason, "error_message": False})  # also the time, for the order of the cron
        if is_news:
            record._show_news()
        delay = max(RETRY_AFTER, timedelta(seconds=retry_after))
        self.env.ref("aigen_image.cron_push")._trigger(fields.Datetime.now() + delay)

    def _show_refusal(self, answer):
        """Back to the person, with the bridge's words: at the fields that they are about, and in one message."""
        problem, names = answer.body, self._wire_names()
        errors = problem.get("errors") or []
        refusals = {names.get(error.get("field"), "prompt"): refusal_words(error) for error in errors}
        code = str(problem.get("code") or f"http_{answer.status}") if answer.status != 422 else "not_valid"
        message = self.with_context(lang=self.user_id.lang)._words_of(problem, refusals)
        self.write({"status": "draft", "error_code": code, "error_message": message, "refusals": refusals})

    @api.model
    def _words_of(self, problem, refusals):
        """Return what happened, what to do next, and whom to ask: by field or by budget, else as the bridge says it."""
        if refusals:
            labels = {name: self._fields[name]._description_string(self.env) for name in refusals}
            return " ".join(f"{labels[name]}: {words}." for name, words in refusals.items())
        words = self._words_of_budget(problem) or [str(problem.get(name) or "") for name in ("detail", "action")]
        if problem.get("contact"):
            words.append(self.env._("Contact: %s", problem["contact"]))
        return " ".join(filter(None, words)) or self.env._("The bridge refused it without a reason.")

    @api.model
    def _words_of_budget(self, problem):
        """Return in the person's language why a budget refuses the picture; [] if none does."""
        if not (exceeded := read_exceeded(problem)):
            return []
        left, limit, price = (
            self._show_amount(amount, exceeded.currency) for amount in (exceeded.left, exceeded.limit, exceeded.price)
        )
        facts = {"budget": exceeded.budget, "left": left, "limit": limit}
        words = {
            "day": self.env._("The budget “%(budget)s” has %(left)s of %(limit)s left today.", **facts),
            "month": self.env._("The budget “%(budget)s” has %(left)s of %(limit)s left this month.", **facts),
            "total": self.env._("The budget “%(budget)s” has %(left)s of %(limit)s left.", **facts),
        }[exceeded.period]
        price = self.env._("This picture costs about %s.", price)
        return [words, price, self.env._("Press “Generate” again when there is more.")]

    @api.model
    def _wire_names(self):
        """Where a person finds the fields of the event."""
        return WIRE_NAMES

    def _report_bug(self, answer):
        """The bridge refuses what Odoo should never send; trying again would change nothing."""
        code, detail = answer.body.get("code") or f"http_{answer.status}", answer.body.get("detail") or ""
        _logger.error("The bridge refused request %s with %s %s: %s", self.request_id, answer.status, code, detail)
        self._end("failed", code=f"bridge_{code}", message=detail)

    def _withdraw_all(self):
        for record in self:
            record._withdraw()

    def _withdraw(self):
        bridge, path = self._apart("_place")
        try:
            answer = bridge.post(f"{path}/cancel", {})
        except Unreachable:
            return  # it goes on there; if a picture comes, it is shown
        if answer.status in {200, 409}:
            self._pull(bridge, path)

    def _place(self, *, patient=False, ops=False):
        """The bridge, and where this request is there."""
        return self._bridge(patient=patient, ops=ops), f"{REQUESTS}/{self.request_id}"

    def _pull_all(self, *, patient=False, singly=BATCH, log_ids=()):
        """Ask how they stand, about a hundred with each call. Without an answer all stays as it is."""
        try:
            for start in range(0, len(self), BATCH):
                self[start : start + BATCH]._pull_many(patient=patient, singly=singly, log_ids=log_ids)
        except Unreachable as error:
            _logger.debug("The bridge was not asked about all of %s: %s", self, error.reason)

    def _pull_many(self, *, patient, singly, log_ids):
        """Ask about all with one call, and about those that the answer lacks one by one, at most `singly`.

        A bridge that is too old for the question refuses it, or ignores it and answers with any requests. One that was
        restored does not know some. What still waits to be sent is not asked about by itself: it is sent again anyway.
        Raises `Unreachable`.
        """
        bridge, ids, waiting = self._apart("_identify", patient=patient)
        resources = _ask_about(bridge, ids) if ids else {}
        for record in self.filtered(lambda record: record.id in ids.keys() - resources.keys() - waiting)[:singly]:
            if resource := record._ask(bridge, f"{REQUESTS}/{ids[record.id]}"):
                resources[record.id] = resource
        for record_id, with_log in self._apart("_find_news", resources, log_ids).items():
            path = f"{REQUESTS}/{ids[record_id]}"
            self.browse(record_id)._take(bridge, path, resources[record_id], with_log=with_log)

    def _identify(self, *, patient):
        """Return the bridge, request ids by record id, and which records wait to be sent. Deleted ones are left out."""
        records = self.exists()
        waiting = set(records.filtered(lambda record: record.status == "waiting").ids)
        return self._bridge(patient=patient), {record.id: record.request_id for record in records}, waiting

    def _find_news(self, resources, log_ids):
        """Return which records to update from what the bridge says: record id → whether to read the log, too.

        The log is read if it is looked at, and when the request moved on.
        """
        news = {}
        for record in self.browse(resources).exists():
            try:
                state = read_state(resources[record.id])
            except WrongResult as error:  # one wrong answer does not hinder the others
                _logger.warning("The bridge's answer about request %s is not used: %s", record.request_id, error)
                continue
            is_missing = state.status == "completed" and not record.attachment_id
            with_log = state.version > record.version or is_missing or record.id in log_ids
            if with_log or record._changes(state):
                news[record.id] = with_log
        return news

    def _refresh_all(self):
        for record in self:
            if record._apart("_is_waiting"):
                if not record._push(patient=True):
                    break  # the record says why
                continue
            bridge, path = record._apart("_place")
            try:
                record._pull(bridge, path)
            except Unreachable as error:
                record._apart("_say_unreachable", error.reason)
                return
        self._apart("_say_refreshed")

    def _is_waiting(self):
        return self.exists().status == "waiting"

    def _say_refreshed(self):
        """Tell the person who pressed Refresh the state of the picture; of several, of the first one still waiting."""
        records = self.exists()
        waiting = records.filtered(lambda record: record.status == "waiting")[:1]
        user = self.env["res.users"].browse(self.env.context["aigen_asked_by"])
        if len(records) > 1 and not waiting:
            self._tell_person(user, self.env._("%s pictures were refreshed.", len(records)), "success")
        for record in waiting or records[:1]:
            kind = {"waiting": "warning", "failed": "warning", "completed": "success"}.get(record.status, "info")
            self._tell_person(user, record.with_user(user)._describe_state(), kind)

    def _describe_state(self):
        """Return in one line which picture it is, how it stands, and why."""
        state = dict(self._fields["status"]._description_selection(self.env))[self.status]
        words = f"{self.name}: {state}"
        return f"{words}. {self.explanation}" if self.explanation else words

    def _pull(self, bridge, path):
        """Ask how it stands, and take what the bridge says. Raises `Unreachable`."""
        if resource := self._ask(bridge, path):
            self._take(bridge, path, resource, with_log=True)

    def _ask(self, bridge, path):
        """Return how it stands; {} if the bridge does not say, or does not know it. Raises `Unreachable`."""
        answer = bridge.get(path)
        if not answer.is_bridge:
            raise Unreachable("stranger")
        if answer.status == 404:
            self._apart("_settle_unknown")
        return answer.body if answer.status == 200 else {}

    def _take(self, bridge, path, resource, *, with_log):
        """Write down how it stands, with the picture if it is ready and not here. Raises `Unreachable`."""
        image, entries = b"", None
        if resource.get("status") == "completed" and self._apart("_lacks_picture"):
            image = bridge.get(f"{path}/image").content
        if with_log:
            entries = bridge.get(f"{path}/timeline").body.get("entries")
        self._apart("_settle_pull", resource, image, entries)

    def _lacks_picture(self):
        return bool(self.exists()) and not self.attachment_id

    def _settle_pull(self, resource, image, entries):
        record = self._lock()
        if not record:
            return
        before = record.status
        record._apply_resource(resource, image)
        if entries is not None and entries != record.log:
            record.log = entries
            if record.status == before and before in UNDERWAY:
                record._show_news()

    def _settle_unknown(self):
        """The bridge was restored from an older backup. It counts versions from 1 again."""
        record = self._lock()
        if record.status in UNDERWAY and record.attachment_id:
            record._end("completed", version=0)  # it is paid for: not asked for again
        elif record.status in UNDERWAY:
            record.write({"status": "waiting", "version": 0, "error_code": "forgotten"})
            self.env.ref("aigen_image.cron_push")._trigger()

    def _say_unreachable(self, reason):
        """To whoever pressed Refresh; nobody is told by the cron."""
        user = self.env["res.users"].browse(self.env.context.get("aigen_asked_by"))
        if user:
            self._tell_person(user, self._explain_unreachable(reason, user), "warning")

    @api.model
    def _check_configured(self):
        """Raise before a person waits for nothing."""
        if not self.env["ir.config_parameter"].sudo().get_param("aigen_image.bridge_url"):
            raise UserError(self.env._("AI images are not set up yet. An administrator enters the bridge's address."))


def _ask_about(bridge, ids):
    """Return how these requests stand, by record id; without those that the answer lacks. Raises `Unreachable`.

    An older bridge answers 422. With any other error, such as 429 or 503, it would not answer about single ones either.
    """
    answer = bridge.get(f"{REQUESTS}?ids={','.join(ids.values())}")
    if not answer.is_bridge:
        raise Unreachable("stranger")
    if answer.status not in {200, 422}:
        raise Unreachable(f"http_{answer.status}")
    items = answer.body.get("items") if answer.status == 200 else None
    items = items if isinstance(items, list) else ()
    found = {str(item.get("requestId")): item for item in items if isinstance(item, dict)}
    return {record_id: found[request_id] for record_id, request_id in ids.items() if request_id in found}
