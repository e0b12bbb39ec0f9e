from pathlib import Path

from odoo import http
from odoo.exceptions import UserError
from odoo.http import content_disposition, request
from odoo.modules.registry import Registry

from ..bridge.label import add_label
from ..bridge.zip_stream import Entry, stream_zip
from ..models.aigen_image_download import MOST_PICTURES
from ..models.aigen_image_label import MOST_LABELLED

CHUNK = 256 * 1024


class Pictures(http.Controller):
    @http.route("/aigen/pictures.zip", type="http", auth="user", methods=["GET", "POST"], readonly=True)
    def pictures_zip(self, ids="", labelled="", **_others):
        """Stream these pictures as one ZIP. Those that the user may not read are left out.

        With `labelled`, the ZIP has copies with the visible label. A copy whose label cannot be drawn is an empty file.
        """
        wanted = [int(one) for one in ids.split(",") if one.isascii() and one.isdigit() and len(one) < 10]
        records = _find(wanted)
        label = records._label() if labelled else {}
        if not records or (labelled and not label):
            raise request.not_found()
        try:
            records._check_download(MOST_LABELLED if label else MOST_PICTURES)
        except UserError as error:
            return request.make_response(str(error), [("Content-Type", "text/plain; charset=utf-8")], status=413)
        headers = [
            ("Content-Type", "application/zip"),
            ("Content-Disposition", content_disposition(records._zip_name())),
            ("Cache-Control", "private, no-store"),
            ("X-Accel-Buffering", "no"),
        ]
        entries = filter(None, [_entry(name, at, attachment) for name, at, attachment in records._zip_files()])
        if label:
            entries = [Entry(name, at, _read_labelled, (read, args, label)) for name, at, read, args in entries]
        return request.make_response(stream_zip(entries), headers)

    @http.route("/aigen/labelled/<int:picture_id>", type="http", auth="user", methods=["GET"], readonly=True)
    def labelled(self, picture_id, **_others):
        """Send a copy of the picture with the visible label."""
        record = _find([picture_id])
        if not record or not record._label():
            raise request.not_found()
        try:
            content = record._labelled()
        except UserError as error:
            return request.make_response(str(error), [("Content-Type", "text/plain; charset=utf-8")], status=422)
        headers = [
            ("Content-Type", record.attachment_id.mimetype),
            ("Content-Disposition", content_disposition(record.attachment_id.name)),
            ("Cache-Control", "private, no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return request.make_response(content, headers)


def _find(ids):
    """Return the pictures with these ids that have a file and that the user may read."""
    requests = request.env["aigen.image.request"].with_context(active_test=False)
    return requests.search([("id", "in", ids), ("attachment_id", "!=", False)])


def _entry(name, at, attachment):
    """Return one file of the ZIP, or None if it is lost. It is read when its turn comes: the transaction has ended."""
    if not attachment.store_fname:
        return Entry(name, at, _read_row, (attachment.env.cr.dbname, attachment.id))
    path = Path(attachment._full_path(attachment.store_fname))
    return Entry(name, at, _read_file, (path,)) if path.is_file() else None


def _read_file(path):
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _read_labelled(read, args, label):
    yield add_label(b"".join(read(*args)), **label) or b""


def _read_row(dbname, attachment_id):
    """For files that Odoo keeps in the database."""
    with Registry(dbname).cursor(readonly=True) as cr:
        cr.execute("SELECT db_datas FROM ir_attachment WHERE id = %s", [attachment_id])
        row = cr.fetchone()
    yield bytes(row[0]) if row and row[0] else b""
