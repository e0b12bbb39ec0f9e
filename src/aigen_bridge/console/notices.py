"""One sentence that the next page shows, such as what an action did. It travels in a cookie, so it needs no session."""

import base64
import json
from dataclasses import asdict, dataclass

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

COOKIE, PATH = "aigen_console_notice", "/console"
TEXT_MAX, SECONDS = 600, 60
SEE_OTHER = 303


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened. `kind` is `done` or `problem`."""

    kind: str
    text: str


def back_to(path: str, notice: Notice | None = None) -> Response:
    """Returns the response to a form: the browser goes to this page of the console, which shows the notice."""
    response = RedirectResponse(path, SEE_OTHER)
    if notice:
        value = json.dumps(asdict(Notice(notice.kind, notice.text[:TEXT_MAX]))).encode()
        text = base64.urlsafe_b64encode(value).decode()
        response.set_cookie(COOKIE, text, max_age=SECONDS, path=PATH, httponly=True, samesite="strict")
    return response


def done(path: str, text: str) -> Response:
    """Returns the response to a form that did what it should."""
    return back_to(path, Notice("done", text))


def read(request: Request) -> Notice | None:
    """Returns the notice that the previous response left."""
    try:
        value = json.loads(base64.urlsafe_b64decode(request.cookies[COOKIE]))
        return Notice("problem" if value["kind"] == "problem" else "done", str(value["text"])[:TEXT_MAX])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def forget(response: Response) -> None:
    """Deletes the notice, which was shown."""
    response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")
