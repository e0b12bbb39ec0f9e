"""What goes over the wire to Odoo. odoorpc hides it, so a handler of its opener looks on."""

from contextvars import ContextVar
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from urllib.request import BaseHandler, HTTPCookieProcessor, OpenerDirector, Request, build_opener

from aigen_bridge.clients.outbound import Call

current: ContextVar[Call | None] = ContextVar("odoo_call", default=None)
"""The call that this thread is making."""


def watched_opener() -> OpenerDirector:
    """An opener as odoorpc makes its own, that notes sizes and status of each exchange in `current`.

    The headers of `current` go out with it.
    """
    return build_opener(HTTPCookieProcessor(CookieJar()), _Watch())


class _Watch(BaseHandler):
    handler_order = 0  # before the error handlers, so that refusals are seen, too

    def http_request(self, request: Request) -> Request:
        call = current.get()
        if call is not None and isinstance(request.data, bytes):
            call.bytes_out += len(request.data)
            for name, value in call.headers.items():
                request.add_header(name, value)
        return request

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002 - urllib's shape
        call = current.get()
        if call is not None:
            call.status = response.status
            length = response.headers.get("Content-Length") or ""
            call.bytes_in += int(length) if length.isdecimal() else 0
        return response

    https_request, https_response = http_request, http_response
