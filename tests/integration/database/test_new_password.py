"""The role's password changes while a process runs: its file first, then the role."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.sockets import bind
from aigen_bridge.store.connection import TIMEOUT, Connector, connect_arguments, session
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.passwords import Passwords
from outages import rows
from poolers import pgbouncer
from roles import Role, role_with_password


@pytest.fixture
def role(database_url: str) -> Iterator[Role]:
    with role_with_password(database_url, "old") as role:
        yield role


@asynccontextmanager
async def opened(url: str, passwords: Passwords) -> AsyncIterator[Database]:
    database = Database(open_engine(url, pool_size=1, name="test", passwords=passwords))
    try:
        yield database
    finally:
        await database.close()


async def connects(url: str, passwords: Passwords) -> None:
    """Opens a new connection."""
    async with opened(url, passwords) as database:
        assert await rows(database, "SELECT 1")


async def test_the_password_before_is_used_until_postgresql_accepts_the_new_one(role: Role) -> None:
    url, passwords = role.url("old"), Passwords("old")
    passwords.replace("a typo")
    passwords.replace("new")
    await connects(url, passwords)

    role.set_password("new")
    await connects(url, passwords)

    role.set_password("old")  # which is forgotten
    with pytest.raises(StoreUnavailableError) as refused:
        await connects(url, passwords)
    assert "password authentication failed" in refused.value.reason


async def test_another_refusal_than_of_the_password_is_named_although_the_one_before_is_refused(role: Role) -> None:
    passwords = Passwords("old")
    passwords.replace("new")
    role.set_password("new")
    role.as_owner(f"ALTER ROLE {role.name} CONNECTION LIMIT 0")
    with pytest.raises(StoreUnavailableError) as refused:
        await connects(role.url("old"), passwords)
    assert "too many connections for role" in refused.value.reason
    role.as_owner(f"ALTER ROLE {role.name} CONNECTION LIMIT -1 VALID UNTIL '2001-01-01'")
    with pytest.raises(StoreUnavailableError) as refused:
        await connects(role.url("old"), passwords)
    assert refused.value.reason.count("password authentication failed") == 1


async def test_an_error_names_no_password(role: Role) -> None:
    passwords = Passwords("secret-before")
    passwords.replace("secret-after")
    with pytest.raises(StoreUnavailableError) as refused:
        await connects(role.url("old"), passwords)
    assert "secret" not in f"{refused.value.reason} {refused.value.detail} {passwords!r}"


async def test_every_server_is_tried_with_every_password_and_a_silent_one_takes_its_time_once(role: Role) -> None:
    """Between a server that does not answer and one that refuses connections, the right one knows the old password."""
    passwords = Passwords("old")
    passwords.replace("new")
    with psycopg.connect(role.url("old")) as connection:
        host, port = connection.info.host, connection.info.port
    with socket.create_server(("127.0.0.1", 0)) as silent, bind("127.0.0.1", 0) as closed:
        places = {"host": f"127.0.0.1,{host},127.0.0.1", "port": f"{_port(silent)},{port},{_port(closed)}"}
        url = make_conninfo(role.url("old"), connect_timeout="2", **places)
        arguments = connect_arguments(url, name="test", timeout=TIMEOUT, settings=session(TIMEOUT))
        began = time.monotonic()
        connection = await Connector(arguments, session(TIMEOUT), passwords)()
        seconds = time.monotonic() - began
        await connection.close()
    assert 2 <= seconds < 4


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


async def test_a_pooler_in_session_mode_is_proved_with_the_password_that_it_accepted(
    role: Role, tmp_path: Path
) -> None:
    (tmp_path / "users").write_text(f'"{role.name}" "old"\n')
    authentication = f"auth_type = scram-sha-256\nauth_file = {tmp_path / 'users'}"
    passwords = Passwords("old")
    passwords.replace("new")
    with pgbouncer(role.url("old"), tmp_path, "session", authentication=authentication) as urls:
        await connects(urls["session"].replace("@", ":new@"), passwords)
