"""Completes the parameters of AIGEN_DATABASE_URL as libpq does, and refuses those that cannot work.

Nothing connects here.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from psycopg import pq
from psycopg.conninfo import make_conninfo

from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.store.url import checked

INTEGERS = frozenset(
    ("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
)
OURS = {
    "replication": "such a connection takes no statements",
    "autocommit": "the bridge decides about transactions",
    "context": "the bridge decides how values are converted",
    "cursor_factory": "the bridge decides how statements are executed",
    "prepare_threshold": "AIGEN_DATABASE__PREPARED_STATEMENTS decides",
    "row_factory": "the bridge decides how rows are read",
}
"""Parameters of libpq and psycopg that the bridge sets itself, and why."""
COMPLETED = INTEGERS | {
    "host", "hostaddr", "port", "dbname", "user", "options", "target_session_attrs", "replication",
    "load_balance_hosts",
}  # fmt: skip
"""Parameters that the bridge has to know wherever libpq takes them from. It adds to them or counts by them."""
STANDBYS = frozenset(("read-only", "standby", "prefer-standby"))
"""Values of `target_session_attrs` that select a server which accepts no writes."""
POOLER_WORDS = frozenset(("pgbouncer", "statement_cache_size", "prepared_statement_cache_size"))
"""Parameters with which other drivers are told about a pooler in transaction mode."""
_ELSEWHERE = "The service file or the environment, which complete AIGEN_DATABASE_URL,"
NOWHERE = "/nonexistent"
"""A folder without a socket. libpq checks the other parameters before it looks for the socket."""
NO_MODE = "complete"
"""No value of `sslmode`: libpq completes its parameters, refuses this one, and does not look up any host."""


def completed(parameters: Mapping[str, str]) -> dict[str, str]:
    """Adds to the URL's parameters what libpq takes from the service file and the environment.

    libpq still takes the rest by itself, such as a password. Raises `UnsuitableDatabaseError` for the first parameter
    that is unknown, wrong, or set by the bridge.
    """
    _refuse_each(parameters, "AIGEN_DATABASE_URL")
    if complaint := _complaint(parameters):
        raise _refused("AIGEN_DATABASE_URL", f"is refused by libpq: {complaint}", "Correct that parameter.")
    added = {name: value for name, value in _as_libpq_completes(parameters).items() if name not in parameters}
    _refuse_each(added, _ELSEWHERE)
    try:
        return checked({**added, **parameters})
    except ValueError as error:
        raise _refused(_ELSEWHERE, str(error), "Correct it there, such as in PGHOST and PGPORT.") from None


def _as_libpq_completes(parameters: Mapping[str, str]) -> dict[str, str]:
    started = pq.PGconn.connect_start(make_conninfo("", **{**parameters, "sslmode": NO_MODE}).encode())
    options = [option for option in started.info if option.val != option.compiled]
    started.finish()
    values = {option.keyword.decode(): (option.val or b"").decode(errors="replace") for option in options}
    return {name: value for name, value in values.items() if value and name in COMPLETED}


def _refuse_each(parameters: Mapping[str, str], where: str) -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    for name, value in parameters.items():
        if name in OURS:
            advice = f"Remove {name} from it."
            raise _refused(where, f"sets {name}, which is not yours to set: {OURS[name]}", advice)
        if name not in known:
            complaint = f"has the parameter {name!r}, which PostgreSQL's libpq does not know"
            raise _refused(where, complaint, _unknown(name, known))
        if name in INTEGERS and not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", value):
            raise _refused(where, f"sets {name} to {value!r}, which is not a number", "Write it in whole numbers.")
        if name == "client_encoding" and re.sub(r"[^a-z0-9]", "", value.lower()) not in {"utf8", "unicode"}:
            raise _refused(where, f"sets client_encoding to {value!r}", "Remove it: the bridge sends UTF8.")
        if name == "target_session_attrs" and value in STANDBYS:
            complaint = f"sets target_session_attrs to {value!r}, but the bridge writes"
            raise _refused(where, complaint, "Set it to read-write.")


def _refused(where: str, what: str, advice: str) -> UnsuitableDatabaseError:
    return UnsuitableDatabaseError(f"{where} {what}.", advice)


def _unknown(name: str, known: set[str]) -> str:
    if name in POOLER_WORDS:
        return "Remove it. Behind a pooler in transaction mode, set AIGEN_DATABASE__PREPARED_STATEMENTS=false."
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it: it belongs to another driver or pool."


def _complaint(parameters: Mapping[str, str]) -> str | None:
    """Returns what libpq says about the values, without connecting to anything."""
    place = {"host": NOWHERE, "hostaddr": "", "port": ""}  # whatever the environment says
    started = pq.PGconn.connect_start(make_conninfo("", **{**parameters, **place}).encode())
    message = started.error_message.decode(errors="replace").strip()
    started.finish()
    return None if NOWHERE in message or not message else message
