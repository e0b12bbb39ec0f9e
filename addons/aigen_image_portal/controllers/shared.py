from werkzeug.exceptions import NotFound

from odoo import http
from odoo.http import request

from odoo.addons.portal.controllers.portal import pager

PAGE_SIZE = 24
SMALL = 512
"""Pixels of the longer side of a small picture."""


class SharedPictures(http.Controller):
    """What a link shows to whoever has its token, logged in or not."""

    @http.route(
        ["/aigen/shared/<int:link_id>", "/aigen/shared/<int:link_id>/page/<int:page>"],
        type="http",
        auth="public",
        methods=["GET"],
        website=True,
        sitemap=False,
    )
    def shared(self, link_id, page=1, access_token=None, **_more):
        """Show the picture, or a page of the board."""
        link, pictures = self._open(link_id, access_token)
        if not pictures:
            return self._nothing(link)
        if link.request_id:
            return self._page("aigen_image_portal.shared_picture", link, picture=pictures, pictures=pictures)
        token = {"access_token": access_token}
        pages = pager(link.access_url, len(pictures), page=page, step=PAGE_SIZE, url_args=token)
        start = pages["offset"]
        some = pictures[start : start + PAGE_SIZE]
        return self._page("aigen_image_portal.shared_board", link, pictures=some, start=start, pager=pages)

    @http.route(
        "/aigen/shared/<int:link_id>/<int:picture_id>",
        type="http",
        auth="public",
        methods=["GET"],
        website=True,
        sitemap=False,
    )
    def picture(self, link_id, picture_id, access_token=None, **_more):
        """Show one picture of a board, with the way to its neighbours."""
        link, pictures = self._open(link_id, access_token)
        picture = pictures.filtered(lambda one: one.id == picture_id)
        if not picture:
            return self._nothing(link)
        return self._page("aigen_image_portal.shared_picture", link, pictures=pictures, picture=picture)

    @http.route(
        "/aigen/shared/<int:link_id>/<int:picture_id>/file",
        type="http",
        auth="public",
        methods=["GET"],
        readonly=True,
    )
    def file(self, link_id, picture_id, access_token=None, small=None, download=None, **_more):
        """Send the bytes of a picture, as they are or small."""
        link, picture = self._open(link_id, access_token, picture_id)
        if not picture:
            raise NotFound
        picture, binary = picture.sudo(), request.env["ir.binary"]
        if small and picture.with_context(bin_size=True).thumbnail:
            stream = binary._get_image_stream_from(picture, "thumbnail")
        elif small:
            stream = binary._get_image_stream_from(picture.attachment_id, width=SMALL, height=SMALL)
        else:
            name = link._file_name(link._pictures().ids.index(picture_id) + 1) if download else None
            stream = binary._get_stream_from(picture.attachment_id, filename=name)
        return self._discreet(stream.get_response(as_attachment=bool(download)), cache="private, no-cache")

    def _open(self, link_id, token, picture_id=None):
        """Return the link that the token opens, and what it shows: nothing if the token is wrong."""
        link = request.env["aigen.image.link"]._opened(link_id, token)
        return link, link._pictures(picture_id) if link else request.env["aigen.image.request"]

    def _nothing(self, link):
        """Say that there is nothing to see. Only whoever has the right token learns that a link expired."""
        is_expired = bool(link) and link._is_expired()
        page = self._page("aigen_image_portal.shared_nothing", link, is_expired=is_expired)
        page.status_code = 403 if is_expired else 404
        return page

    def _page(self, template, link, **values):
        values = {"link": link, "no_breadcrumbs": True} | values
        return self._discreet(request.render(template, values), cache="no-store")

    def _discreet(self, response, *, cache):
        """Keep address and content out of search engines, shared caches, and the logs of other sites."""
        response.headers["X-Robots-Tag"] = "noindex"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = cache
        return response
