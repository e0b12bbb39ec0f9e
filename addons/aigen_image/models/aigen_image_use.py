"""Pictures where they are needed: what a picture is made for, and where it is used."""

from odoo import api, fields, models
from odoo.exceptions import AccessDenied, UserError, ValidationError

from .series import Constraint

STATES = [
    ("waiting", "Waits for approval"),
    ("used", "Used"),
    ("undone", "Undone"),
    ("refused", "Refused"),
    ("failed", "Could not be used"),
]


class AigenImageUse(models.Model):
    """A picture at a field of a record. There is one for each picture and field, however often it is used there."""

    _name = "aigen.image.use"
    _description = "Use of an AI image"
    _order = "id desc"

    request_id = fields.Many2one("aigen.image.request", "Picture", required=True, ondelete="cascade", index=True)
    user_id = fields.Many2one("res.users", "Person", required=True)
    res_model = fields.Char(required=True)
    res_id = fields.Many2oneReference(model_field="res_model", required=True)
    res_field = fields.Char(required=True)
    state = fields.Selection(STATES, required=True)
    failure = fields.Char()
    """Why it could not be used, in the words that the person would have seen."""
    checksum = fields.Char()
    """Of the image as the record keeps it, which may be smaller than the picture."""
    old_image = fields.Binary(attachment=False, groups=fields.NO_ACCESS)
    """What the field had before, for undoing. No attachment: Odoo 18 would show it to whoever reads the use."""
    place = fields.Char(compute="_compute_place")
    is_current = fields.Boolean("In use", compute="_compute_is_current")
    """The record still has this picture."""

    _once = Constraint("UNIQUE (request_id, res_model, res_id, res_field)", "This picture is used there already.")

    @api.depends("res_model", "res_id")
    @api.depends_context("uid", "lang")
    def _compute_place(self):
        """The name of the record, for whoever may read it."""
        for use in self:
            kind = self.env["ir.model"]._get(use.res_model).name or use.res_model
            target = self.env["aigen.image.request"]._readable_targets(use.res_model, [use.res_id])
            use.place = f"{target.display_name} ({kind})" if target else kind

    @api.depends("state", "checksum")
    def _compute_is_current(self):
        for use in self:
            use.is_current = use.state == "used" and use.checksum == use._checksum()

    def _checksum(self):
        """Return that of the image which the record has now."""
        domain = [(name, "=", self[name]) for name in ("res_model", "res_id", "res_field")]
        return self.env["ir.attachment"].sudo().search(domain, limit=1).checksum

    def action_open(self):
        """Open the record."""
        self.ensure_one()
        self.check_access("read")
        return {
            "type": "ir.actions.act_window",
            "res_model": self.res_model,
            "res_id": self.res_id,
            "views": [(False, "form")],
        }

    def action_undo(self):
        """Give the record back the image from before, by the person's own rights. Again: no difference."""
        self.ensure_one()
        self.check_access("read")
        if self.state != "used":
            return
        target = self.request_id._usable_target(self.res_model, self.res_id)
        if not self.is_current:
            raise UserError(self.env._("“%s” has another picture by now. Nothing was undone.", target.display_name))
        target[self.res_field] = self.sudo().with_context(bin_size=False).old_image
        target.flush_recordset()
        self.sudo().write({"state": "undone", "old_image": False})

    def _carry_out(self):
        """Use it after the approval, with the rights that the person who asked for it has now."""
        person = self.user_id
        companies = (person.company_id | person.company_ids).ids
        request = self.request_id.with_user(person).with_context(allowed_company_ids=companies, lang=person.lang)
        try:
            with self.env.cr.savepoint():
                if not person.active:
                    raise AccessDenied
                request.check_access("read")
                request._use_for(request._usable_target(self.res_model, self.res_id))
        except UserError as error:  # AccessError is one, too
            self.write({"state": "failed", "failure": str(error)})


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    target_model = fields.Char("Made for a")
    target_id = fields.Many2oneReference("Made for", model_field="target_model", index="btree_not_null")
    target_name = fields.Char("For", compute="_compute_target_name")
    """The record that the picture was made for, or that one is chosen for at the moment."""
    target_use_id = fields.Many2one("aigen.image.use", compute="_compute_target_use")
    target_state = fields.Selection(STATES, compute="_compute_target_use")
    target_failure = fields.Char(compute="_compute_target_use")
    is_at_target = fields.Boolean(compute="_compute_target_use")
    use_ids = fields.One2many("aigen.image.use", "request_id", "Used for", readonly=True)

    @api.model
    def _editable_fields(self):
        return super()._editable_fields() | {"target_model", "target_id"}

    @api.constrains("target_model", "target_id")
    def _check_target(self):
        for request in self:
            if request.target_model and not self._takes_pictures(request.target_model):
                raise ValidationError(self.env._("Pictures cannot be made for “%s”.", request.target_model))

    @api.depends("target_model", "target_id")
    @api.depends_context("uid", "aigen_target_model", "aigen_target_id")
    def _compute_target_name(self):
        by_model = {}
        for request in self:
            model, res_id = request._target()
            by_model.setdefault(model, set()).add(res_id)
        names = {
            (model, target.id): target.display_name
            for model, ids in by_model.items()
            for target in self._readable_targets(model, ids)
        }
        for request in self:
            request.target_name = names.get(request._target(), False)

    @api.depends("target_model", "target_id", "use_ids.state", "use_ids.failure", "use_ids.checksum")
    @api.depends_context("uid", "aigen_target_model", "aigen_target_id")
    def _compute_target_use(self):
        for request in self:
            target = request._target()
            use = request.use_ids.filtered(lambda use, target=target: (use.res_model, use.res_id) == target)[:1]
            request.target_use_id, request.target_state = use, use.state
            request.target_failure, request.is_at_target = use.failure, use.is_current

    def _target(self):
        """Return `(model, id)` of what a picture is chosen for at the moment, or of what this one was made for."""
        context = self.env.context
        if context.get("aigen_target_id"):
            return context.get("aigen_target_model"), context["aigen_target_id"]
        return self.target_model, self.target_id

    @api.model
    def _takes_pictures(self, model):
        return model in self.env and isinstance(self.env[model], self.env.registry["aigen.image.mixin"])

    @api.model
    def _readable_targets(self, model, ids):
        """Return those of these records that are there and that the person may read."""
        if not model or not self._takes_pictures(model):
            return self.browse()
        return self.env[model].browse(filter(None, ids)).exists()._filtered_access("read")

    @api.model
    def _usable_target(self, model, res_id):
        """Return the record if the person may give it a picture. Raises `UserError` in plain words."""
        if not res_id or not self._takes_pictures(model):
            raise UserError(self.env._("Open the record that needs the picture, and choose the picture from there."))
        target = self.env[model].browse(res_id).exists()
        kind = self.env["ir.model"]._get(model).name
        if not target:
            raise UserError(self.env._("The record that this picture is for was deleted (%s).", kind))
        if not target.has_access("read") or not target.has_access("write"):
            raise UserError(self.env._("You may not change the record that this picture is for (%s).", kind))
        field = target._fields.get(target._aigen_image_field)
        if not field or field.readonly or not target.fields_get([field.name], []):
            raise UserError(self.env._("The picture of this record cannot be changed (%s).", kind))
        return target

    def action_use(self):
        """Use the picture for the record that it was made or is chosen for. Again: no difference.

        Returns a message for the person, with `use_id` for undoing it. Where an approval is needed, the picture is used
        as soon as it is given.
        """
        self.ensure_one()
        self.check_access("read")
        target = self._usable_target(*self._target())
        if not self._find_use(target).is_current and self._ask_approval():
            use = self._keep_use(target, state="waiting")
            words = self.env._("It will be used for “%s” as soon as it is approved.", target.display_name)
            return self._say_used(use, "info", words)
        use = self._use_for(target)
        return self._say_used(use, "success", self.env._("“%s” has this picture now.", target.display_name))

    def action_undo_use(self):
        """Undo the use for the record that the picture was made or is chosen for."""
        self.ensure_one()
        for use in self.target_use_id:
            use.action_undo()

    def action_open_target(self):
        """Open the record that the picture was made or is chosen for."""
        self.ensure_one()
        model, res_id = self._target()
        if not self._readable_targets(model, [res_id]):
            raise UserError(self.env._("The record that this picture is for is not there any more, or not for you."))
        return {"type": "ir.actions.act_window", "res_model": model, "res_id": res_id, "views": [(False, "form")]}

    def _use_for(self, target):
        """Write the picture to the record, by the person's own rights, and keep what was there. Returns the use, as
        superuser: it may be somebody else's.

        Of two tabs, the later finds that the record was changed, is repeated, and then finds the use of the earlier.
        """
        use = self._find_use(target)
        if use.is_current:
            return use
        self._check_usable()
        name = target._aigen_image_field
        old = target.with_context(bin_size=False)[name]
        target[name] = self.attachment_id.with_context(bin_size=False).datas
        target.flush_recordset()
        use = self._keep_use(target, state="used", old_image=old, failure=False)
        use.checksum = use._checksum()
        return use

    def _find_use(self, target):
        key = {"request_id": self.id, **_key(target)}
        domain = [(name, "=", value) for name, value in key.items()]
        return self.env["aigen.image.use"].sudo().search(domain)

    def _keep_use(self, target, **values):
        use, values = self._find_use(target), values | {"user_id": self.env.uid}
        if use:
            use.write(values)
            return use
        return use.create({"request_id": self.id, **_key(target), **values})

    def _describe_uses(self):
        """Add the records that have one of these pictures. They keep it, as a copy."""
        uses = self.sudo().use_ids.filtered("is_current")
        if not uses:
            return super()._describe_uses()
        words = self.env._("%s records use it, and keep it.", len(uses))
        if len(uses) == 1:
            words = self.env._("1 record uses it, and keeps it.")
        return [*super()._describe_uses(), words]

    @api.model
    def _say_used(self, use, kind, words):
        following = {"type": "ir.actions.act_window_close"}  # reads the form again
        can_undo = use.state == "used" and use.sudo(False).has_access("read")
        params = {"type": kind, "message": words, "next": following, "use_id": can_undo and use.id}
        return {"type": "ir.actions.client", "tag": "display_notification", "params": params}


def _key(target):
    """Return the field that gets the picture, as `aigen.image.use` names it."""
    return {"res_model": target._name, "res_id": target.id, "res_field": target._aigen_image_field}
