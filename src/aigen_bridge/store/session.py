"""Compares the session of a new connection with what was asked for, and detects poolers.

A pooler may drop the session settings. In transaction mode it may also run each transaction on another server process,
which loses settings, prepared statements and LISTEN, and can run a prepared statement of another client instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg

from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.store.cut import Connection, cut_in_thread_after

POOLER_SECONDS = 2.0
"""The longest wait for a pooler that has no server connection left."""

PROVING, ROUNDS = 3, 5
"""How many connections prove the mode of a pooler, and how often each asks for its process."""
PID = "SELECT pg_backend_pid()"
COMPARE = """
    SELECT pg_backend_pid(), ARRAY(
        SELECT format('%%s %%L (asked for: %%L)', name, found, expected) FROM (
            SELECT name, current_setting(name) AS found, set_config(name, value, true) AS expected
            FROM unnest(%(names)s::text[], %(values)s::text[]) AS asked (name, value)
        ) AS compared
        WHERE CASE WHEN name LIKE '%%timeout'
            THEN found = '0' OR found::interval > expected::interval ELSE found <> expected END
    )
"""
"""Returns the server process and the settings that differ. PostgreSQL converts the value that was asked for into its
own notation by setting it until the end of the transaction. An administrator may set shorter timeouts."""

APPLY = (
    "SELECT set_config(name, value, false) FROM unnest(%(names)s::text[], %(values)s::text[]) AS asked (name, value)"
)

_POOLER_ADVICE = (
    "Name PostgreSQL itself in AIGEN_DATABASE_URL, or a pool in session mode (PgBouncer: pool_mode=session and "
    "ignore_startup_parameters=options). With AIGEN_DATABASE__PREPARED_STATEMENTS=false, a pool in transaction mode "
    "works for all but 'migrate' and the listener, which use AIGEN_DATABASE__LISTEN_URL then."
)
_CONNECT_ADVICE = 'As the owner of the database: GRANT CONNECT ON DATABASE "{dbname}" TO "{user}";'
_TRANSACTION_MODE = (
    "The connection goes through a pooler in transaction mode (such as PgBouncer with pool_mode=transaction), which "
    "loses session settings, prepared statements and notifications."
)
_STATEMENT_MODE = "The connection goes through a pooler in statement mode, which permits no transactions."
_POOL_FULL = (
    f"the pooler did not give three connections within {POOLER_SECONDS:g} s; if that happens at every start, its pool "
    "is too small (PgBouncer: default_pool_size)"
)
_REFUSALS = {  # PgBouncer and RDS Proxy; the text of PostgreSQL in English
    "startup parameter": ("A pooler refuses the session settings: {message}", _POOLER_ADVICE),
    "command-line options": ("A pooler refuses the session settings: {message}", _POOLER_ADVICE),
    "statement pooling mode": (_STATEMENT_MODE, _POOLER_ADVICE),
    "permission denied for database": ("{message}", _CONNECT_ADVICE),
}
"""Parts of the messages with which a server or pooler refuses a connection until somebody changes something."""


def asked(settings: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns the parameters of `COMPARE` and `APPLY`."""
    wanted = {**settings, "client_encoding": "UTF8"}
    return {"names": list(wanted), "values": list(wanted.values())}


def unanswered(seconds: int) -> psycopg.errors.ConnectionTimeout:
    """Returns the error for a server that accepts connections and answers no statement, such as a hung one.

    A pooler does so, too, while its own server is away or its pool is full.
    """
    return psycopg.errors.ConnectionTimeout(f"connected, but no answer to the first statement within {seconds} s")


def refuse_encoding(connection: Connection) -> None:
    """Raises `UnsuitableDatabaseError` unless the database can hold every text."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding == "UTF8":
        return
    raise UnsuitableDatabaseError(
        f"The database {connection.info.dbname!r} has the encoding {encoding}, which cannot hold every prompt; it must "
        "be UTF8.",
        "Create another one (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0), restore a pg_dump of this one "
        "into it if it holds requests, and name it in AIGEN_DATABASE_URL.",
    )


def is_pooled(connection: Connection, pid: int) -> bool:
    """Returns whether a pooler is in between: it invents the process id that the protocol announces."""
    return connection.info.backend_pid != pid


def refuse_differences(differences: Sequence[str]) -> None:
    """Raises `UnsuitableDatabaseError` if the session differs from what was asked for."""
    if differences:
        raise UnsuitableDatabaseError(
            f"The session has {', '.join(differences)}. Most likely a pooler such as PgBouncer is between the bridge "
            "and PostgreSQL and ignores the startup parameter 'options'.",
            f"{_POOLER_ADVICE} PGDATESTYLE, PGTZ and PGCLIENTENCODING in the environment have the same effect.",
        )


def refuse_lost(differences: Sequence[str]) -> None:
    """Raises `UnsuitableDatabaseError` if a transaction lost the settings with which it began."""
    if differences:
        raise UnsuitableDatabaseError(
            f"A transaction has {', '.join(differences)} although it began by setting that. Most likely a pooler or "
            "load balancer runs each statement on another server process.",
            "Name PostgreSQL itself in AIGEN_DATABASE_URL, or a pool in session or transaction mode.",
        )


def refuse_transaction_mode(connection: Connection, arguments: Mapping[str, Any]) -> None:
    """Raises `UnsuitableDatabaseError` if the pooler gives a connection another server process in each transaction.

    In session mode, a connection keeps its process, and no other connection has it meanwhile. In transaction mode, a
    process is free after each statement: another connection gets it next, or the same connection gets another. On a
    busy pooler that may take a few rounds. If a load balancer spreads connections over two poolers, two of the three
    still have one in common.

    Raises `OperationalError` if the pool is full.
    """
    there = {"autocommit": True, "prepare_threshold": None, "hostaddr": None, **_address(connection)}
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(psycopg.connect(**{**arguments, **there}))) for _ in range(PROVING)]
        cuts = stack.enter_context(cut_in_thread_after(POOLER_SECONDS, *opened))
        try:
            pids = {(number, one.execute(PID).fetchone()) for _ in range(ROUNDS) for number, one in enumerate(opened)}
        except psycopg.OperationalError as error:
            if not any(cut.made for cut in cuts):
                raise
            raise psycopg.OperationalError(_POOL_FULL) from error
    if len(pids) != PROVING or len({pid for _, pid in pids}) != PROVING:
        raise UnsuitableDatabaseError(_TRANSACTION_MODE, _POOLER_ADVICE)


def _address(connection: Connection) -> dict[str, str]:
    """Returns arguments that lead to the same server or pooler, with the password that it accepted.

    Other hosts that the URL names are left out.
    """
    info = connection.info
    found = {"host": info.host, "hostaddr": info.hostaddr, "port": str(info.port), "password": info.password}
    return {name: value for name, value in found.items() if value}


@contextmanager
def refusals_explained(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Raises `UnsuitableDatabaseError` for a connection that will be refused again until somebody changes something."""
    try:
        yield
    except psycopg.OperationalError as error:
        message = " ".join(str(error).split())
        for part, (detail, advice) in _REFUSALS.items():
            if part in message:
                known = {"message": message, "user": arguments.get("user"), "dbname": arguments.get("dbname")}
                raise UnsuitableDatabaseError(detail.format(**known), advice.format(**known)) from error
        raise
