"""Renders the templates. Everything that is put into a page is escaped."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aigen_bridge import __version__
from aigen_bridge.console import notices
from aigen_bridge.console.assets import static_url
from aigen_bridge.console.navigation import NAVIGATION
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.money import amount_text

NOTHING = "\N{EN DASH}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def render(
    request: Request, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> HTMLResponse:
    """Returns a page. Templates have `visitor` (None before signing in), `request`, and what `context` gives.

    `paused` are the destinations that the banner names.
    """
    visitor = getattr(request.state, "visitor", None)
    is_poll = "hx-request" in request.headers
    notice = None if is_poll else notices.read(request)
    context = {"paused": getattr(request.state, "paused", ()), **context}
    text = _environment.get_template(template).render(
        request=request, visitor=visitor, notice=notice, path=request.url.path, query=request.url.query, **context
    )
    response = HTMLResponse(storable(text), status, headers)  # JSON of others may hold lone surrogates
    response.headers["X-Console-Version"] = __version__
    if notice:
        notices.forget(response)
    return response


def time_tag(at: datetime | None) -> Markup | str:
    """Returns an instant as `<time>`: in UTC, until the script shows it in the reader's zone with UTC beside it."""
    if at is None:
        return NOTHING
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(timespec="milliseconds").replace("+00:00", "Z"), f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    )


def duration(span: timedelta | float | None) -> str:
    """Returns a duration in its two largest units, such as `3 min 20 s`."""
    if span is None:
        return NOTHING
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one more digit
    for unit, name, smaller, its_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if seconds >= unit:
            rest = int(seconds % unit // smaller)
            return f"{int(seconds // unit)} {name}" + (f" {rest} {its_name}" if rest else "")
    return NOTHING


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """Returns how long ago an instant was. For texts that a poll renews; elsewhere, show the time itself."""
    if at is None:
        return NOTHING
    return duration(max(timedelta(0), (now or datetime.now(UTC)) - at))


def number(value: Decimal | float | None) -> str:
    """Returns a number with thin spaces between its thousands."""
    return NOTHING if value is None else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def money(amount: Decimal) -> str:
    """Returns an amount, exact, with thin spaces between its thousands."""
    whole, places = f"{amount:,f}".partition(".")[0], amount_text(amount).partition(".")[2]
    return f"{whole}.{places}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def pretty_json(value: Any) -> str:
    """Returns JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def with_query(request: Request, **changes: Any) -> str:
    """Returns the address of this page with other parameters; None removes one."""
    kept = {name: value for name, value in request.query_params.items() if name not in changes}
    wanted = kept | {name: str(value) for name, value in changes.items() if value is not None}
    return request.url.path + (f"?{urlencode(wanted)}" if wanted else "")


def _make_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("aigen_bridge.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "time": time_tag,
        "duration": duration,
        "ago": ago,
        "number": number,
        "money": money,
        "pretty_json": pretty_json,
    }
    environment.globals |= {
        "navigation": NAVIGATION,
        "static": static_url,
        "version": __version__,
        "with_query": with_query,
        "NOTHING": NOTHING,
    }
    return environment


_environment = _make_environment()
