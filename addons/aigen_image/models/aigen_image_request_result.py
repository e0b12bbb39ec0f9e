"""Bridge → Odoo: what became of a request. One short transaction, idempotent by version."""

from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError

from ..bridge.result import MAX_BYTES, WrongResult, read_image, read_result, read_state
from .aigen_bridge import apart
from .aigen_image_request import OPEN, UNDERWAY

ENDED = frozenset({"completed", "failed", "cancelled"})


class AigenImageRequest(models.Model):
    _inherit = "aigen.image.request"

    @api.model
    @apart
    def bridge_apply_result(self, payload):
        """Take news of the bridge: `{requestId, version, status, databaseUuid?, errorCode?, errorMessage?, image?}`.

        Only for the bridge's user. Old or known news answer `applied: False` with the same ids. The answer also has
        `version`, `status` and `errorCode` of the record: a bridge restored from a backup sees what it forgot.

        News with the `databaseUuid` of another database change nothing, because this one is a copy of it; the answer
        has the UUID of this one.

        Raises `AccessError` for everybody else, `ValidationError` for a payload that is not as agreed, `UserError` for
        a request that is not in this database.
        """
        if not self.env.user.has_group("aigen_image.group_bridge"):
            raise AccessError(self.env._("Only the bridge reports results."))
        if self._is_for_another_database(payload):
            return {
                "applied": False,
                "recordId": 0,
                "attachmentId": False,
                "databaseUuid": self._database_uuid(),
            }
        try:
            result = read_result(payload, self._max_image_bytes())
        except WrongResult as error:
            raise ValidationError(str(error)) from error
        record = self.sudo()._locked(result.request_id)
        if not record:
            raise UserError(self.env._("There is no image request %s in this database.", result.request_id[:80]))
        applied = not record._is_withdrawn(result) and record._apply(result)
        if applied:
            record._note(result)
        return {
            "applied": applied,
            "recordId": record.id,
            "attachmentId": record.attachment_id.id,
            "version": record.version,
            "status": record.status,
            "errorCode": record.error_code,
            "databaseUuid": self._database_uuid(),
        }

    @api.model
    def bridge_limits(self):
        """Tell the bridge what is taken, and by which database: `{imageBytes, databaseUuid}`. Only for its user."""
        if not self.env.user.has_group("aigen_image.group_bridge"):
            raise AccessError(self.env._("Only the bridge reports results."))
        return {"imageBytes": self._max_image_bytes(), "databaseUuid": self._database_uuid()}

    def _is_for_another_database(self, payload):
        """Return whether the bridge knows another UUID for its database than this database has."""
        known = payload.get("databaseUuid") if isinstance(payload, dict) else None
        return isinstance(known, str) and known.lower() != self._database_uuid().lower()

    def _max_image_bytes(self):
        """Return the largest image that is taken, as a system parameter says."""
        text = self.env["ir.config_parameter"].sudo().get_param("aigen_image.max_image_bytes") or ""
        return int(text) if text.isascii() and text.isdigit() else MAX_BYTES

    def _locked(self, request_id):
        """The record, locked until the transaction ends: of two reports at once, one waits and sees the other's."""
        self.flush_model()
        self.env.cr.execute(
            "SELECT id FROM aigen_image_request WHERE request_id = %s FOR NO KEY UPDATE", [request_id.lower()]
        )
        row = self.env.cr.fetchone()
        record = self.browse(row and row[0])
        record.invalidate_recordset()
        return record

    def _apply(self, result):
        """Write what is news. Returns whether it was."""
        if result.version <= self.version or self._has_other_picture(result):
            return False
        if self._is_known(result):
            self.version = result.version
            return True
        if result.image:
            self._keep_picture(result.image)
        if result.status in ENDED:
            self._end(result.status, code=result.error_code, message=result.error_message, version=result.version)
        else:
            self._advance(result.status, result.version)
        return True

    def _is_withdrawn(self, result):
        """Whether the request was cancelled here while the bridge, restored or not yet informed, still works on it."""
        return self.status == "cancelled" and result.status in UNDERWAY

    def _has_other_picture(self, result):
        """Whether the result would remove or replace the picture, as only a bridge restored from a backup would."""
        if self.status != "completed":
            return False
        other = result.image and self.attachment_id and result.image.sha256 != self.image_sha256
        return result.status != "completed" or bool(other)

    def _is_known(self, result):
        """Whether the record already has this outcome under a lower version, as after a restore of the bridge."""
        if result.status == "completed":
            return self.status == "completed" and bool(self.attachment_id)
        told = (result.status, result.error_code, result.error_message)
        return result.status == "failed" and told == (self.status, self.error_code or "", self.error_message or "")

    def _advance(self, status, version):
        """Write a step before the end. It may be an earlier one: put back after a failure, or sent to N8N again."""
        values = {
            "status": status,
            "version": version,
            "error_code": False,
            "error_message": False,
            "finished_at": False,
        }
        if status == "queued" or self.held_since or self.status in ENDED:
            values["started_at"] = fields.Datetime.now()
        self.write(values)

    def _end(self, status, *, code="", message="", version=None):
        """It ended: written, told in the chatter, shown to the person."""
        values = {
            "status": status,
            "error_code": code or False,
            "error_message": message or False,
            "finished_at": fields.Datetime.now(),
        }
        self.write(values if version is None else dict(values, version=version))
        self._note_end()

    def _note_end(self):
        """One line in the chatter, in the language of the person; texts of others are escaped by Odoo.

        By Odoo's own user: the bridge's one is no internal user, whose attachments Odoo leaves out.
        """
        record = self.with_user(SUPERUSER_ID).with_context(lang=self.user_id.lang)
        notes = {
            "completed": record.env._("The picture is ready."),
            "failed": record.env._("There is no picture. %s", record.explanation or ""),
            "cancelled": record.env._("The picture was cancelled."),
        }
        record.message_post(
            body=notes[self.status],
            author_id=self.env.ref("base.partner_root").id,
            attachment_ids=self.attachment_id.ids if self.status == "completed" else [],
            partner_ids=self._people_to_tell().partner_id.ids,
        )

    def _people_to_tell(self):
        """Return whom a message tells that it ended: the person, if wanted, once for all asked for together."""
        person = self.user_id
        if person.aigen_notify != "message" or self.status == "cancelled":
            return person.browse()
        if self.batch_id:
            self.env.cr.execute("SELECT FROM aigen_image_batch WHERE id = %s FOR UPDATE", self.batch_id.ids)
            self.batch_id.request_ids.invalidate_recordset(["status"])
            if any(record.status in OPEN for record in self.batch_id.request_ids):
                return person.browse()
        return person

    def _show_news(self, *, is_silent=False):
        """Make the browsers of the person and of managers reload the record. Managers get no texts of others.

        If `is_silent`, the person is not notified.
        """
        news = {"id": self.id, "status": self.status, "version": self.version, "batch": self.batch_id.id}
        own = news | {"name": self.name, "silent": is_silent or self.user_id.aigen_notify == "nothing"}
        self.user_id._bus_send("aigen_image.request/update", own)
        self.env.ref("aigen_image.group_manager")._bus_send("aigen_image.request/moved", news)

    def _keep_picture(self, image):
        """Store the bytes as they are: without postprocessing, which would make them others than the hash says."""
        old = self.attachment_id
        attachment = (
            self.env["ir.attachment"]
            .with_context(image_no_postprocess=True)
            .create(
                {
                    "name": f"{self._file_name()}.{extension_of(image.format)}",
                    "raw": image.content,
                    "mimetype": image.media_type,
                    "res_model": self._name,
                    "res_id": self.id,
                }
            )
        )
        if attachment.raw != image.content:
            raise ValidationError(self.env._("Odoo changed the image while storing it."))
        self.write(
            {
                "attachment_id": attachment.id,
                "image_sha256": image.sha256,
                "image_size": len(image.content),
                "image_format": image.format,
            }
        )
        old.unlink()

    def _file_name(self):
        """A name for the file, out of the prompt's words."""
        words = "".join(c if c.isalnum() else " " for c in self.name or "").split()
        return "-".join(words).lower()[:48].strip("-") or "picture"

    def _file_extension(self):
        return extension_of(self.image_format)

    def _apply_resource(self, resource, content=b""):
        """Write what the bridge answered when it was asked: news, a picture that is missing, how far it is."""
        record, state = self._locked(self.request_id), read_state(resource)
        before = record.status
        if state.status != "completed" or record._keep_missing(resource, content):
            record._apply(state)
            if content and record.status == before:
                record._show_news()  # known, but its file was missing
        if record._note(state) and record.status == before and before in UNDERWAY:
            record._show_news()

    def _keep_missing(self, resource, content):
        """Store the picture if it is missing here. False: it is known, or the bridge will bring it."""
        if self.attachment_id:
            return self.status != "completed"  # sent again though it is here
        if not content:
            return False
        try:
            self._keep_picture(read_image(resource.get("image") or {}, content))
        except WrongResult:
            return False  # most likely the bridge keeps the picture no longer, and said so instead of sending it
        return True

    def _note(self, state):
        """Write what the bridge tells without a new version, where it differs. Returns whether it did."""
        changes = self._changes(state)
        if changes:
            self.write(changes)
        return bool(changes)

    def _changes(self, state):
        """Return what changed without a new version: field → value."""
        if state.version < self.version:
            return {}  # an answer that was overtaken
        reported = self._reported_underway(state)
        if (state.version, state.status) == (self.version, self.status):
            reported |= state.made if state.replayable is None else state.made | {"replayable": state.replayable}
        changes = {name: value for name, value in reported.items() if value != self[name]}
        if changes.get("held_since", True) is False:
            changes["started_at"] = fields.Datetime.now()  # the hold is over
        if changes.get("resent", 0) > self.resent:
            changes["started_at"] = fields.Datetime.now()  # it was in the queue again, seen or not
        return changes

    def _reported_underway(self, state):
        """Return hold, progress and resends. They end where the bridge says another status than is known here."""
        is_underway = self.status in UNDERWAY and self.status == state.status
        is_being_made = is_underway and self.status == "dispatched"
        return {
            "held_since": (is_underway and state.held_since) or False,
            "progress": (is_being_made and state.progress) or False,
            "resent": state.resent if is_underway else self.resent,
        }


def extension_of(image_format):
    return "jpg" if image_format == "jpeg" else image_format
