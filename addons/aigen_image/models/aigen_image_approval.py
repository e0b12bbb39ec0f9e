"""Approval of pictures before they are used, where the settings ask for it. It is given once for each picture."""

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

APPROVALS = [("asked", "Waits for approval"), ("approved", "Approved"), ("refused", "Refused")]
ACTIVITY = "aigen_image.activity_approve"


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    approval = fields.Selection(APPROVALS, readonly=True, copy=False, index="btree_not_null")
    approval_asked_id = fields.Many2one("res.users", "Asked by", readonly=True, copy=False)
    approver_id = fields.Many2one("res.users", "Approved or refused by", readonly=True, copy=False)
    approval_reason = fields.Char("Reason", readonly=True, copy=False)
    may_ask_approval = fields.Boolean(compute="_compute_may_ask_approval")

    @api.depends("approval", "attachment_id")
    def _compute_may_ask_approval(self):
        is_needed = self._approval_is_needed()
        for request in self:
            request.may_ask_approval = is_needed and bool(request.attachment_id) and not request.approval

    @api.model
    def _approval_is_needed(self):
        return bool(self.env["ir.config_parameter"].sudo().get_param("aigen_image.approval"))

    @api.model
    def _may_approve(self):
        return self.env.user.has_group("aigen_image.group_approver")

    def _check_usable(self):
        """Raise `UserError` in plain words if the picture may not be used: it is not there, or not approved."""
        for request in self:
            if not request.attachment_id:
                raise UserError(self.env._("There is no picture yet."))
            if request.approval != "approved" and self._approval_is_needed():
                raise UserError(request._why_not_approved())

    def _why_not_approved(self):
        if self.approval == "refused":
            return self.env._("This picture was refused: %s", self.approval_reason)
        if self.approval == "asked":
            return self.env._("This picture is waiting for approval. You will be notified when it may be used.")
        return self.env._("Pictures are approved before they are used. Open the picture and ask for its approval.")

    def _ask_approval(self):
        """Put the picture before those who approve, if that is needed. Returns whether it has to wait for them.

        Whoever may approve it does so by using it.
        """
        if not self.attachment_id or self.approval == "approved" or not self._approval_is_needed():
            return False
        if self._may_approve():
            self._decide("approved")
            return False
        if self.approval == "refused":
            raise UserError(self._why_not_approved())
        request = self._lock()
        if request.approval != "asked":
            approvers = self._approvers()
            request.sudo().write({"approval": "asked", "approval_asked_id": self.env.uid})
            for user in approvers:
                request.sudo().activity_schedule(ACTIVITY, user_id=user.id, summary=self.name)
        return True

    def _approvers(self):
        """Return the users who can approve the picture. Raises `UserError` if there are none: it would wait forever."""
        members = self.env.ref("aigen_image.group_approver").sudo()._aigen_members()
        company = self.sudo().company_id
        users = members.filtered(lambda user: user.active and not user.share and company in user.company_ids)
        if not users:
            raise UserError(
                self.env._("There is no approver yet. Ask an administrator to add someone to the group “Approver”.")
            )
        return users

    def action_ask_approval(self):
        """Ask for approval without a record at hand, as for a page of the website. An approver approves it."""
        self.ensure_one()
        self.check_access("read")
        if not self.attachment_id:
            raise UserError(self.env._("There is no picture yet."))
        self._ask_approval()

    def action_approve(self):
        """Approve the pictures. They are used where people asked for it, with the rights of those people."""
        self._check_approver()
        for request in self:
            request._check_open_approval()
            request._decide("approved")

    def action_refuse(self):
        """Ask for the reason first."""
        self._check_approver()
        self._check_open_approval()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Refuse the picture"),
            "res_model": "aigen.image.refuse",
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_request_ids": [fields.Command.set(self.ids)]},
        }

    def _check_approver(self):
        self.check_access("read")
        if not self._may_approve():
            raise AccessError(self.env._("Only approvers can approve or refuse pictures."))

    def _check_open_approval(self):
        if any(not request.approval for request in self):
            raise UserError(self.env._("Nobody has asked for approval of this picture."))

    def _decide(self, approval, *, reason=False):
        """Approve or refuse it, once: the later of two people finds the decision of the earlier."""
        request = self._lock().sudo()
        if not request or request.approval == approval:
            return
        request.write({"approval": approval, "approver_id": self.env.uid, "approval_reason": reason})
        request.activity_unlink([ACTIVITY])
        waiting = request.use_ids.filtered(lambda use: use.state == "waiting")
        people = (request.approval_asked_id | waiting.user_id) - self.env.user
        if approval == "refused":
            waiting.state = "refused"
        for use in waiting.filtered(lambda use: use.state == "waiting"):
            use._carry_out()
        request._tell_decision(people, waiting)

    def _tell_decision(self, people, uses):
        """Tell those who asked what came out, in Odoo's own way."""
        record = self.with_context(lang=people[:1].lang or self.env.lang)
        if self.approval == "refused":
            words = [record.env._("The picture was refused: %s", self.approval_reason)]
        else:
            words = [record.env._("The picture was approved.")]
        words += [record.env._("It could not be used: %s", use.failure) for use in uses if use.state == "failed"]
        record.message_post(body=" ".join(words), partner_ids=people.partner_id.ids)
