"""Refuses parameters of AIGEN_DATABASE_URL that cannot work, before anything connects."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from psycopg import pq
from psycopg.conninfo import make_conninfo

from aigen_bridge.domain.errors import UnsuitableDatabaseError

INTEGERS = frozenset(
    ("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
)
OURS = {
    "replication": "such a connection takes no statements",
    "autocommit": "the bridge decides about transactions",
    "context": "the bridge decides how values are converted",
    "cursor_factory": "the bridge decides how statements are executed",
    "prepare_threshold": "the bridge decides what is prepared; behind a pooler it prepares nothing",
    "row_factory": "the bridge decides how rows are read",
}
"""Parameters of libpq and psycopg that the bridge sets itself, and why."""
POOLER_WORDS = frozenset(("pgbouncer", "statement_cache_size", "prepared_statement_cache_size"))
"""Parameters with which other drivers are told about a pooler in transaction mode."""
NOWHERE = "/nonexistent"
"""A folder without a socket. libpq checks the other parameters before it looks for the socket."""


def refuse_parameters(parameters: Mapping[str, str]) -> None:
    """Raises `UnsuitableDatabaseError` for the first parameter that is unknown, wrong, or set by the bridge."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    for name, value in parameters.items():
        if name in OURS:
            raise _refused(f"sets {name}, which is not yours to set: {OURS[name]}", f"Remove {name} from it.")
        if name not in known:
            raise _refused(f"has the parameter {name!r}, which PostgreSQL's libpq does not know", _unknown(name, known))
        if name in INTEGERS and not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", str(value)):
            raise _refused(f"sets {name} to {str(value)!r}, which is not a number", "Write it in whole numbers.")
        if name == "client_encoding" and re.sub(r"[^a-z0-9]", "", str(value).lower()) not in {"utf8", "unicode"}:
            raise _refused(f"sets client_encoding to {str(value)!r}", "Remove it: the bridge sends UTF8.")
    if complaint := _complaint(parameters):
        raise _refused(f"is refused by libpq: {complaint}", "Correct that parameter.")


def _refused(what: str, advice: str) -> UnsuitableDatabaseError:
    return UnsuitableDatabaseError(f"AIGEN_DATABASE_URL {what}.", advice)


def _unknown(name: str, known: set[str]) -> str:
    if name in POOLER_WORDS:
        return "Remove it. A pooler in transaction mode is not supported: name PostgreSQL itself, or a session pool."
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it: it belongs to another driver or pool."


def _complaint(parameters: Mapping[str, str]) -> str | None:
    """Returns what libpq says about the values, without connecting to anything."""
    local = {name: value for name, value in parameters.items() if name != "service"}
    place = {"host": NOWHERE, "hostaddr": "", "port": ""}  # whatever the environment says
    started = pq.PGconn.connect_start(make_conninfo("", **{**local, **place}).encode())
    message = started.error_message.decode(errors="replace").strip()
    started.finish()
    return None if NOWHERE in message or not message else message
