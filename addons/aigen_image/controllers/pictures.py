from odoo import http
from odoo.exceptions import UserError
from odoo.http import content_disposition, request
from odoo.modules.registry import Registry

from ..bridge.zip_stream import Entry, stream_zip

CHUNK = 256 * 1024


class Pictures(http.Controller):
    @http.route("/aigen/pictures.zip", type="http", auth="user", methods=["GET", "POST"], readonly=True)
    def pictures_zip(self, ids="", **_others):
        """Send these pictures as one ZIP, as it is being made. Those that the person may not read are left out."""
        wanted = [int(one) for one in ids.split(",") if one.isascii() and one.isdigit() and len(one) < 10]
        requests = request.env["aigen.image.request"].with_context(active_test=False)
        records = requests.search([("id", "in", wanted), ("attachment_id", "!=", False)])
        if not records:
            raise request.not_found()
        try:
            records._check_download()
        except UserError as error:
            return request.make_response(str(error), [("Content-Type", "text/plain; charset=utf-8")], status=413)
        headers = [
            ("Content-Type", "application/zip"),
            ("Content-Disposition", content_disposition(records._zip_name())),
            ("Cache-Control", "private, no-store"),
            ("X-Accel-Buffering", "no"),
        ]
        entries = [_entry(name, at, attachment) for name, at, attachment in records._zip_files()]
        return request.make_response(stream_zip(entries), headers)


def _entry(name, at, attachment):
    """Return one file of the ZIP. It is read when its turn comes: the transaction has ended then."""
    if attachment.store_fname:
        return Entry(name, at, _read_file, (attachment._full_path(attachment.store_fname),))
    return Entry(name, at, _read_row, (attachment.env.cr.dbname, attachment.id))


def _read_file(path):
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _read_row(dbname, attachment_id):
    """For files that Odoo keeps in the database."""
    with Registry(dbname).cursor(readonly=True) as cr:
        cr.execute("SELECT db_datas FROM ir_attachment WHERE id = %s", [attachment_id])
        row = cr.fetchone()
    yield bytes(row[0]) if row and row[0] else b""
